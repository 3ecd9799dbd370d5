"""Two one-thread processes beside one: how much of twice the speed is left.

    python -m benchmarks.ranks --world data/world --embeddings runs/embeddings --modality video

All train a model of the quick start by the same command. One process takes the global batch; two
take half of it each and exchange gradients over gloo; two that know nothing of each other do the
same work without the exchange, which is what the machine itself leaves of twice the speed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from core.cli import command
from core.errors import UserError


def ranks(
    world: Path,
    embeddings: Path,
    modality: Literal["text", "image", "audio", "video"] = "image",
    batch: int = 128,
    steps: int = 60,
    repeats: int = 5,
) -> None:
    """Train in the three ways in turn and print a table.

    Args:
        world: Shards of the world.
        embeddings: Its embeddings.
        modality: Whose generator.
        batch: The global batch.
        steps: Steps a run.
        repeats: Runs of each; the table has median, least and most.
    """
    half = batch // 2
    rows: dict[str, list[float]] = {"one": [], "two": [], "two apart": []}
    for _ in range(repeats):
        start = (modality, world, embeddings, steps)
        rows["one"].append(_rate([_Run(*start, batch)]))
        rows["two"].append(_rate([_Run(*start, half, ("--trainer.devices=2", DDP))]))
        rows["two apart"].append(_rate([_Run(*start, half), _Run(*start, half)]))
    print("| processes | samples/s | least | most | share of twice | least | most |")
    print("|---|---|---|---|---|---|---|")
    for name, rates in rows.items():
        shares = [rate / (2 * one) for rate, one in zip(rates, rows["one"], strict=True)]
        numbers = [f"{f(rates):.1f}" for f in (statistics.median, min, max)]
        numbers += [f"{f(shares):.3f}" for f in (statistics.median, min, max)]
        print(f"| {name} | {' | '.join(numbers)} |")


DDP = "--trainer.strategy=ddp"


class _Run:
    """A training command that runs."""

    def __init__(
        self,
        modality: str,
        world: Path,
        embeddings: Path,
        steps: int,
        batch: int,
        more: tuple[str, ...] = (),
    ):
        self.out = tempfile.TemporaryDirectory()
        words = [
            f"--config=configs/{modality}/world.yaml", f"--data.root={world}",
            f"--data.embeddings={embeddings}", f"--data.batch_size={batch}",
            f"--out={self.out.name}", f"--trainer.max_steps={steps}",
            f"--trainer.val_check_interval={steps + 1}", f"--save_every={steps}", "--samples=0",
            "--trainer.accelerator=cpu", *more,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{modality}.train", *words],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def rate(self) -> float:
        """Return its samples a second, when it is done."""
        if self.process.wait():
            raise UserError("a training command failed; its own message says why")
        with self.out as out:
            return json.loads((Path(out) / "cost.json").read_text())["samples_per_second"]


def _rate(runs: list[_Run]) -> float:
    return sum(run.rate() for run in runs)


if __name__ == "__main__":
    command(ranks)
