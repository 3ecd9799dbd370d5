"""Training steps of our decoder and of litgpt's, at one size: tokens a CPU-second, side by side.

    venv/bin/python -m benchmarks.pretraining

Both are Llama's layout (RMSNorm, rotary positions, SwiGLU, an untied head, no biases) with the same
number of parameters, trained by torch's AdamW on the same random tokens, in turn and in one
process; ours once more in its own layout and by Muon. It wants an environment with our packages and
litgpt.
"""

import statistics
import time
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from core.cli import command
from core.optim import AdamW, Muon, OptimConfig, build_optimiser
from text.model import TextConfig, TextModel

Step = Callable[[Int[Tensor, "B T1"]], None]


def pretraining(
    width: int = 256,
    depth: int = 6,
    heads: int = 8,
    context: int = 256,
    batch: int = 8,
    vocabulary: int = 512,
    steps: int = 5,
    repeats: int = 7,
    threads: int = 1,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Time steps of each in turn and print a table.

    Args:
        width: Channels.
        depth: Blocks.
        heads: Heads.
        context: Tokens a row.
        batch: Rows a step.
        vocabulary: Tokens that there are.
        steps: Steps of a measurement.
        repeats: Measurements of each; the table has median, least and most.
        threads: Threads of torch.
        precision: Of the products; bfloat16 by autocast.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shape = TextConfig(
        width, depth, heads, context, vocabulary, prefix=0, mlp="swiglu", layout="llama", tied=False
    )
    own = TextConfig(width, depth, heads, context, vocabulary, prefix=0, tied=False)
    models = {
        "litgpt": _litgpt(shape),
        "ours": TextModel(shape),
        "ours, own layout, Muon": TextModel(own),
    }
    rules = {"ours, own layout, Muon": Muon()}
    runners = {
        name: _step(model, OptimConfig(rules.get(name, AdamW())), precision)
        for name, model in models.items()
    }
    rows = torch.randint(vocabulary, (batch, context + 1))
    rates: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(repeats + 1):
        for name, run in runners.items():
            rate = _rate(run, rows, steps)
            if turn:  # the first warms caches
                rates[name].append(rate)
    print("| model | parameters | tokens/CPU-s | least | most | over litgpt |")
    print("|---|---|---|---|---|---|")
    for name, found in rates.items():
        count = sum(p.numel() for p in models[name].parameters())
        over = statistics.median(a / b for a, b in zip(found, rates["litgpt"], strict=True))
        numbers = " | ".join(f"{f(found):,.0f}" for f in (statistics.median, min, max))
        print(f"| {name} | {count:,} | {numbers} | {over:.2f} |")


def _litgpt(shape: TextConfig) -> nn.Module:
    from litgpt.model import GPT, Config  # pyright: ignore[reportMissingImports]

    return GPT(
        Config(
            block_size=shape.context,
            padded_vocab_size=shape.vocabulary,
            n_layer=shape.depth,
            n_head=shape.heads,
            n_embd=shape.width,
            n_query_groups=shape.heads,
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
            mlp_class_name="LLaMAMLP",
            intermediate_size=8 * shape.width // 3,
        )
    )


def _step(model: nn.Module, optim: OptimConfig, precision: str) -> Step:
    optimiser = build_optimiser(model, optim, 1000)["optimizer"]

    def run(rows: Int[Tensor, "B T1"]) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return run


def _rate(run: Step, rows: Int[Tensor, "B T1"], steps: int) -> float:
    start = time.process_time()
    for _ in range(steps):
        run(rows)
    return steps * (rows.numel() - len(rows)) / (time.process_time() - start)


if __name__ == "__main__":
    command(pretraining)
