"""nanoGPT's recipe for a small CPU beside ours: loss on all of the validation split, CPU-seconds.

    python -m benchmarks.shakespeare --source input.txt

The reference is our own implementation of that recipe: GPT-2 with 4 blocks, width 128 and context
64, AdamW, 2,000 steps of 12 windows, in float32. Ours is `python -m text.train` with
configs/text/shakespeare_char_cpu.yaml, for all of its steps and for fewer (--steps 600 300). Both
use one thread. Ours counts everything from the first batch to the last checkpoint, validation and
sample too; the reference counts its training loop alone.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.cli import command, plain_options
from core.errors import UserError

CONFIG = "configs/text/shakespeare_char_cpu.yaml"


@dataclass(frozen=True)
class Reference:
    """The recipe of nanoGPT's README for a small CPU (Karpathy 2022)."""

    width: int = 128
    depth: int = 4
    heads: int = 4
    context: int = 64
    batch: int = 12
    steps: int = 2000
    lr: float = 1e-3
    lowest_lr: float = 1e-4
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    decay: float = 0.1
    clip: float = 1.0

    def factor(self, step: int) -> float:
        """Return the learning rate of a step: linear warm-up, then a cosine."""
        if step < self.warmup:
            return self.lr * (step + 1) / (self.warmup + 1)
        share = (step - self.warmup) / (self.steps - self.warmup)
        falling = 0.5 * (1 + math.cos(math.pi * share))
        return self.lowest_lr + falling * (self.lr - self.lowest_lr)


class Block(nn.Module):
    """GPT-2's block without biases (Radford et al. 2019)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width, bias=False)
        self.before_mlp = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Return the tokens after attention and MLP."""
        qkv = self.qkv(self.before_attention(x))
        q, k, v = rearrange(qkv, "B T (three N K) -> three B N T K", three=3, N=self.heads)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attended(rearrange(seen, "B N T K -> B T (N K)"))
        return x + self.down(F.gelu(self.up(self.before_mlp(x))))


class GPT(nn.Module):
    """GPT-2 with its initialisation and a tied head."""

    def __init__(self, recipe: Reference, vocabulary: int):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, recipe.width)
        self.places = nn.Embedding(recipe.context, recipe.width)
        self.blocks = nn.ModuleList(Block(recipe.width, recipe.heads) for _ in range(recipe.depth))
        self.norm = nn.LayerNorm(recipe.width, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                narrow = name.endswith(("attended.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / (math.sqrt(2 * recipe.depth) if narrow else 1))

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Return, at each token, the logits of the next."""
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


def shakespeare(
    source: Path,
    seeds: int = 3,
    steps: tuple[int, ...] = (600, 300),
    reference_threads: int = 1,
    compiled: bool = False,
) -> None:
    """Train in turn and print a table: losses in nats a character, CPU-seconds and their ratio.

    Args:
        source: The text; its first 90 % train, the rest validates.
        seeds: Runs of each.
        steps: Of our runs, 600 being the configuration's; a CPU without bfloat16 takes
            some 480 and 240 in all and in half of the reference's time.
        reference_threads: Threads of the reference, as torch by itself would take all cores.
        compiled: Train the reference compiled too, its compilation not counted; costs are over
            the cheaper of the two.
    """
    rows: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        corpus = _corpus(source, Path(folder))
        for seed in range(seeds):
            for name, run in _runs(source, corpus, steps, reference_threads, compiled):
                rows.setdefault(name, []).append(run(seed))
                print(f"seed {seed}: {name}: {rows[name][-1]}", file=sys.stderr, flush=True)
    print("| recipe | nats a character | deviation | CPU-seconds | of the reference |")
    print("|---|---|---|---|---|")
    reference = min(
        statistics.mean(seconds for _, seconds in found)
        for name, found in rows.items()
        if name.startswith("reference")
    )
    for name, found in rows.items():
        losses, seconds = zip(*found, strict=True)
        spread = statistics.stdev(losses) if len(losses) > 1 else 0.0
        spent = statistics.mean(seconds)
        print(
            f"| {name} | {statistics.mean(losses):.4f} | {spread:.4f} | {spent:.1f} "
            f"| {spent / reference:.2f} |"
        )


def _runs(
    source: Path, corpus: Path, steps: Sequence[int], threads: int, compiled: bool
) -> Iterator[tuple[str, Callable[[int], tuple[float, float]]]]:
    yield "reference", lambda seed: _in_process(source, seed, threads)
    if compiled:
        yield "reference, compiled", lambda seed: _in_process(source, seed, threads, "true")
    for count in steps:
        words = [f"--trainer.max_steps={count}", f"--trainer.val_check_interval={count}"]
        yield f"ours, {count} steps", lambda seed, words=words: ours(corpus, seed, words)


def _corpus(source: Path, folder: Path) -> Path:
    words = ["--unit=file", "--val=tail", f"--source={source}", f"--out={folder / 'texts'}"]
    _run("text.shards", *words)
    words = [f"--shards={folder / 'texts'}", "--tokenizer=char", f"--out={folder / 'tokens'}"]
    _run("text.tokens", *words)
    return folder / "tokens"


def ours(corpus: Path, seed: int, words: list[str]) -> tuple[float, float]:
    """Train our configuration; return its last validation loss and its CPU-seconds."""
    with tempfile.TemporaryDirectory() as out:
        start = [f"--config={CONFIG}", f"--data.root={corpus}", f"--out={out}"]
        _run("text.train", *start, f"--seed_everything={seed}", *words)
        cost = json.loads((Path(out) / "cost.json").read_text())
        header, *lines = (Path(out) / "metrics.csv").read_text().splitlines()
        column = header.split(",").index("val/loss")
        losses = [line.split(",")[column] for line in lines]
        return float(next(x for x in reversed(losses) if x)), cost["cpu_seconds"]


def _in_process(
    source: Path, seed: int, threads: int, compiled: str = "false"
) -> tuple[float, float]:
    """Run the reference in a process of its own."""
    words = [f"--source={source}", f"--seed={seed}", f"--threads={threads}"]
    words.append(f"--compiled={compiled}")
    found = json.loads(_run("benchmarks.shakespeare", "reference", *words, threads=threads))
    return found["loss"], found["cpu_seconds"]


def _run(module: str, *words: str, threads: int = 1) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"python -m {module} failed; its own message says why")
    return done.stdout


def reference(source: Path, seed: int = 0, threads: int = 1, compiled: bool = False) -> None:
    """Train the reference and print its validation loss and CPU-seconds as JSON.

    Args:
        source: The text.
        seed: Of weights and windows.
        threads: Of torch.
        compiled: Compile the model, before the time is taken.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    text, recipe = source.read_text(encoding="utf-8"), Reference()
    numbers = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([numbers[character] for character in text])
    train, held_out = ids.split([int(0.9 * len(ids)), len(ids) - int(0.9 * len(ids))])
    model = GPT(recipe, len(numbers))
    if compiled:
        model.compile()
        window = train[: recipe.context].expand(recipe.batch, -1)
        model(window).mean().backward()  # compiles both passes
        model.zero_grad(set_to_none=True)
    began = time.process_time()
    _train(model, train, recipe)
    spent = time.process_time() - began
    print(json.dumps({"loss": whole_loss(model, held_out, recipe.context), "cpu_seconds": spent}))


def _train(model: GPT, ids: Int[Tensor, "S"], recipe: Reference) -> None:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    gains = [p for p in model.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.decay}, {"params": gains, "weight_decay": 0}],
        lr=recipe.lr,
        betas=recipe.betas,
    )
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.factor(step)
        starts = torch.randint(len(ids) - recipe.context, (recipe.batch, 1))
        rows = ids[starts + torch.arange(recipe.context + 1)]
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimiser.step()


@torch.no_grad()
def whole_loss(model: nn.Module, ids: Int[Tensor, "S"], context: int) -> float:
    """Return the mean loss in nats over windows side by side, each character once but the first."""
    total, windows = 0.0, ids[1:].split(context)
    for start, targets in enumerate(windows):
        read = ids[start * context :][: len(targets)]
        total += float(F.cross_entropy(model(read[None])[0], targets, reduction="sum"))
    return total / (len(ids) - 1)


if __name__ == "__main__":
    words = sys.argv[1:]
    chosen = reference if words[:1] == ["reference"] else shakespeare
    command(chosen, words[1:] if chosen is reference else plain_options(words, lists=("--steps",)))
