"""One change at a time, two seeds each, at equal steps on the world.

    python -m benchmarks.ablations --world data/world --embeddings runs/quickstart/embeddings

The image flow is judged by the validation error of its velocity (same codec, noise and times in
every row), the towers by linear probes of their validation embeddings under the noise that
generators see. CPU-seconds stand beside, as a better loss may be a slower step.
"""

import csv
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from core.cli import command
from core.train_cli import train

MUON, ADAMW = "core.optim.Muon", "core.optim.AdamW"
IMAGE: Mapping[str, tuple[str, ...]] = {
    "base: x-prediction, ReLU2, Muon": (),
    "v-prediction": ("--model.flow.prediction=v",),
    "SwiGLU": ("--model.model.net.mlp=swiglu",),
    "AdamW": (f"--model.optim.rule={ADAMW}",),
}
TOWERS: Mapping[str, tuple[str, ...]] = {
    "base: width 64, cap 30": (),
    "width 32": ("--model.towers.embedding=32",),
    "width 128": ("--model.towers.embedding=128",),
    "cap 15": ("--model.max_scale=15",),
    "cap 100": ("--model.max_scale=100",),
}


def ablations(
    world: Path,
    embeddings: Path,
    what: Literal["image", "towers"] = "image",
    steps: int = 300,
    seeds: Sequence[int] = (0, 1),
) -> None:
    """Train every variant and print a table.

    Args:
        world: Shards of the world.
        embeddings: Its embeddings.
        what: The image flow's choices, or the towers'.
        steps: Steps a run.
        seeds: Seeds of each variant.
    """
    variants = IMAGE if what == "image" else TOWERS
    run = _image if what == "image" else _towers
    print("| variant | result, a column a seed | mean | CPU-seconds |\n|---|---|---|---|")
    for name, options in variants.items():
        rows = [run(world, embeddings, steps, seed, options) for seed in seeds]
        results, costs = zip(*rows, strict=True)
        each = ", ".join(f"{value:.4f}" for value in results)
        mean = f"{statistics.mean(results):.4f}"
        print(f"| {name} | {each} | {mean} | {statistics.mean(costs):.0f} |", flush=True)


def _image(
    world: Path, embeddings: Path, steps: int, seed: int, options: Sequence[str]
) -> tuple[float, float]:
    """Return the validation loss of the image flow and its CPU-seconds."""
    from image import ImageData, ImageModule

    with tempfile.TemporaryDirectory() as out:
        common = ("--config=configs/image/world.yaml", f"--data.embeddings={embeddings}")
        argv = [*common, *_run(world, Path(out), steps, seed), "--data.batch_size=128"]
        train(ImageModule, ImageData, [*argv, *options])
        with (Path(out) / "metrics.csv").open(newline="") as file:
            losses = [row["val/loss"] for row in csv.DictReader(file) if row.get("val/loss")]
        return float(losses[-1]), _cost(Path(out))


def _towers(
    world: Path, embeddings: Path, steps: int, seed: int, options: Sequence[str]
) -> tuple[float, float]:
    """Return the worst probe of a discrete factor and the CPU-seconds of the towers."""
    from multimodal.alignment import AlignmentModule
    from multimodal.data import PairedData
    from multimodal.embed import embed
    from multimodal.probes import probes

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        argv = ["--config=configs/multimodal/world.yaml", *_run(world, out / "run", steps, seed)]
        train(AlignmentModule, PairedData, [*argv, *options])
        embed(out / "run" / "last.ckpt", world, out / "embeddings")
        table = probes(out / "embeddings", world, noise=0.4)
        worst = min(v for row in table.values() for factor, v in row.items() if factor != "size")
        return worst, _cost(out / "run")


def _run(world: Path, out: Path, steps: int, seed: int) -> list[str]:
    return [
        f"--data.root={world}",
        f"--out={out}",
        f"--trainer.max_steps={steps}",
        f"--trainer.val_check_interval={steps}",
        f"--seed_everything={seed}",
        f"--save_every={steps}",
        "--samples=1",
    ]


def _cost(out: Path) -> float:
    return json.loads((out / "cost.json").read_text())["cpu_seconds"]


if __name__ == "__main__":
    command(ablations)
