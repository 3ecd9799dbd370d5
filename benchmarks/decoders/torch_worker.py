"""One system of `benchmarks.decoding` that needs torch, in a process of its own.

python -m benchmarks.decoders.torch_worker --system ours --size 10M
"""

import os
from collections.abc import Callable
from typing import Literal, get_args

import torch

from benchmarks.decoders.torch_models import our_model, ours, prompts, their_model, their_tokens
from benchmarks.turns import seconds, serve
from core.cli import command
from text.packing import DType

System = Literal["transformers", "transformers, compiled", "ours", "ours, C++", "ours, int8"]
SYSTEMS: tuple[System, ...] = get_args(System)


def torch_worker(
    system: System,
    size: str,
    dtype: DType = "float32",
    batch: int = 1,
    threads: int = 1,
    prompt: int = 16,
    tokens: int = 256,
) -> None:
    """Answer each line of standard input with the tokens per second of one run.

    Args:
        system: What is timed.
        size: One of the benchmark's sizes.
        dtype: Type of weights and activations.
        batch: Texts side by side.
        threads: Threads of torch.
        prompt: Tokens of the prompt.
        tokens: Tokens to write after it.
    """

    def prepare():
        torch.set_num_threads(threads)
        run = runner(system, size, dtype, batch, prompt, tokens)
        run()  # compiles, fills caches
        return lambda: batch * tokens / seconds(run), {}

    serve(prepare)


def runner(
    system: System, size: str, dtype: DType, batch: int, prompt: int, tokens: int
) -> Callable[[], object]:
    """Return what writes all tokens once."""
    net = our_model(size, prompt + tokens)
    ids = prompts(batch, prompt, net.config.vocabulary)
    match system:
        case "ours":
            return ours(net, ids, tokens, dtype)
        case "ours, C++":
            return ours(net, ids, tokens, dtype, native=True)
        case "ours, int8":
            return ours(net, ids, tokens, dtype, "int8")
    theirs = their_model(net).to(getattr(torch, dtype))
    if system == "transformers, compiled":
        theirs.forward = torch.compile(theirs.forward)
    cache = "static" if system == "transformers, compiled" else "dynamic"
    return lambda: their_tokens(theirs, ids, tokens, cache)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    command(torch_worker)
