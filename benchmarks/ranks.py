"""Two one-thread processes beside one: how much of twice the speed is left.

    python -m benchmarks.ranks --world data/world --embeddings runs/embeddings

Both train the image model of the quick start at the same global batch, by the same command; the
two exchange gradients over gloo.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from core.cli import command


def ranks(
    world: Path, embeddings: Path, batch: int = 128, steps: int = 60, repeats: int = 5
) -> None:
    """Train by one process and by two in turn and print a table.

    Args:
        world: Shards of the world.
        embeddings: Its embeddings.
        batch: The global batch.
        steps: Steps a run, the first of which fill the memory of decoded samples.
        repeats: Runs of each; the table has median, least and most.
    """
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeats):
        for count, held in rates.items():
            held.append(_rate(world, embeddings, batch, steps, count))
    print("| processes | median samples/s | least | most |\n|---|---|---|---|")
    for count, held in rates.items():
        numbers = (statistics.median(held), min(held), max(held))
        print(f"| {count} | {' | '.join(f'{rate:.1f}' for rate in numbers)} |")
    shares = [two / (2 * one) for one, two in zip(rates[1], rates[2], strict=True)]
    print(f"share of twice: {statistics.median(shares):.3f} ({min(shares):.3f}, {max(shares):.3f})")


def _rate(world: Path, embeddings: Path, batch: int, steps: int, count: int) -> float:
    """Return the samples a second of one run."""
    with tempfile.TemporaryDirectory() as out:
        several = ["--trainer.strategy=ddp"] if count > 1 else []
        words = [
            "-m", "image.train", "--config=configs/image/world.yaml", f"--data.root={world}",
            f"--data.embeddings={embeddings}", f"--data.batch_size={batch // count}",
            f"--out={out}", f"--trainer.max_steps={steps}", f"--trainer.devices={count}",
            f"--trainer.val_check_interval={steps + 1}", f"--save_every={steps}", "--samples=1",
            "--trainer.accelerator=cpu", *several,
        ]  # fmt: skip
        subprocess.run(
            [sys.executable, *words], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True
        )
        return json.loads((Path(out) / "cost.json").read_text())["samples_per_second"]


if __name__ == "__main__":
    command(ranks)
