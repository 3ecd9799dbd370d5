"""Training steps of our decoder and of litgpt's, at one size: tokens per CPU-second, in turns.

    python -m benchmarks.pretraining --litgpt ~/litgpt/bin/python

Both are Llama's layout (RMSNorm, rotary positions, SwiGLU, an untied head, no biases) with the same
number of parameters, trained by torch's AdamW on the same random tokens, each in a process of its
own, as it comes and compiled; ratios are over the faster of litgpt's two. Ours run once more in
their own layout and by Muon. The environment of `--litgpt` holds our packages and litgpt.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from benchmarks.turns import Contender, Missing, Result, module, serve, take_turns
from core.cli import command, plain_options
from core.errors import UserError
from core.optim import AdamW, Muon, OptimConfig, build_optimiser
from text.model import TextConfig, TextModel

Step = Callable[[Int[Tensor, "B T1"]], None]
System = Literal["litgpt", "litgpt, compiled", "ours", "ours, compiled", "ours, own layout, Muon"]
SYSTEMS: tuple[System, ...] = get_args(System)
Precision = Literal["float32", "bfloat16"]


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
    precision: Precision = "float32",
    compiled: bool = True,
    litgpt: Path | None = None,
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
        compiled: Compile both too.
        litgpt: Python of an environment with litgpt; by default this one.
    """
    sizes = {"width": width, "depth": depth, "heads": heads, "context": context, "batch": batch,
             "vocabulary": vocabulary, "steps": steps, "threads": threads}  # fmt: skip
    for name, value in (sizes | {"repeats": repeats}).items():
        if value < 1:
            raise UserError(f"{name} is {value} but must be at least 1")
    words = [*(f"--{name}={value}" for name, value in sizes.items()), f"--precision={precision}"]
    found = take_turns(
        [
            Contender(name, _command(name, words, litgpt), threads)
            for name in SYSTEMS
            if compiled or "compiled" not in name
        ],
        repeats,
    )
    theirs = [r.median for name, r in found.items() if name.startswith("litgpt")]
    best = max((median for median in theirs if median is not None), default=None)
    print("| model | parameters | tokens/CPU-s | least | most | over litgpt |")
    print("|---|---|---|---|---|---|")
    for name, result in found.items():
        print(_row(name, result, best))


def worker(
    system: System,
    width: int,
    depth: int,
    heads: int,
    context: int,
    batch: int,
    vocabulary: int,
    steps: int,
    threads: int,
    precision: Precision,
) -> None:
    """Answer each line of standard input with the tokens per CPU-second of some steps.

    Args:
        system: What is timed.
        width: Channels.
        depth: Blocks.
        heads: Heads.
        context: Tokens a row.
        batch: Rows a step.
        vocabulary: Tokens that there are.
        steps: Steps of a measurement.
        threads: Threads of torch.
        precision: Of the products.
    """

    def prepare():
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        size = (width, depth, heads, context, vocabulary)
        model = _model(system, *size)
        if "compiled" in system:
            model.compile()
        rule = Muon() if "Muon" in system else AdamW()
        run = _step(model, OptimConfig(rule), precision)
        rows = torch.randint(vocabulary, (batch, context + 1))
        _rate(run, rows, steps)  # compiles, fills caches
        count = sum(p.numel() for p in model.parameters())
        return lambda: _rate(run, rows, steps), {"parameters": count}

    serve(prepare)


def _command(system: System, words: list[str], litgpt: Path | None) -> tuple[str, ...]:
    python = litgpt if system.startswith("litgpt") and litgpt is not None else sys.executable
    return module("benchmarks.pretraining", "worker", f"--system={system}", *words, python=python)


def _row(name: str, result: Result, best: float | None) -> str:
    count = result.facts.get("parameters")
    cells = [name, f"{count:,}" if count is not None else ""]
    if result.median is None:
        return f"| {' | '.join([*cells, result.note or 'not measured', '', '', ''])} |"
    rates = (result.median, min(result.values), max(result.values))
    cells += [f"{rate:,.0f}" for rate in rates]
    return f"| {' | '.join([*cells, f'{result.median / best:.2f}' if best else ''])} |"


def _model(
    system: System, width: int, depth: int, heads: int, context: int, vocabulary: int
) -> nn.Module:
    own = TextConfig(width, depth, heads, context, vocabulary, prefix=0, tied=False)
    shape = TextConfig(
        width, depth, heads, context, vocabulary, prefix=0, mlp="swiglu", layout="llama", tied=False
    )
    if system.startswith("litgpt"):
        return _litgpt(shape)
    return TextModel(own if "own layout" in system else shape)


def _litgpt(shape: TextConfig) -> nn.Module:
    try:
        from litgpt.model import GPT, Config  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Missing("not installed (--litgpt PYTHON names an environment with it)") from error

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
    words = sys.argv[1:]
    chosen = worker if words[:1] == ["worker"] else pretraining
    command(chosen, words[1:] if chosen is worker else plain_options(words))
