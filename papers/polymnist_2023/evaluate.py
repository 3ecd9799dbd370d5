"""Read what each system generated: coherence, Fréchet distance, recall, a grid of samples.

python -m papers.polymnist_2023.evaluate --run runs/poly --out runs/poly/evaluate
"""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.cli import command
from core.errors import UserError
from core.files import new_file
from multimodal.metrics import (
    agreement,
    bootstrap_interval,
    frechet_distance,
    mean,
    precision_recall,
    total_variation,
)
from multimodal.readers import Reader
from papers.polymnist_2023.data import Pictures, Views, load_views, take
from papers.polymnist_2023.peers import OURS, our_seconds
from papers.polymnist_2023.readers import load_readers
from papers.polymnist_2023.report import table, write_grid
from papers.polymnist_2023.samples import Samples, load_samples, name, subsets
from papers.polymnist_2023.views import VIEWS

DIGITS = 10
Readers = Mapping[str, Reader]
Features = Mapping[str, Float[Tensor, "B D"]]


def evaluate(run: Path, out: Path, data: Path | None = None, seed: int = 0) -> None:
    """Measure every system that has samples in <run>/*/samples.npz, by the same readers.

    Args:
        run: Folder of `python -m papers.polymnist_2023.reproduce`.
        out: Folder for report.json, table.md and grid.png.
        data: Folder of `python -m papers.polymnist_2023.shards`; <run>/data without it.
        seed: Of the bootstrap.
    """
    torch.set_num_threads(1)
    folders = sorted(path.parent for path in run.glob("*/samples.npz"))
    if not folders:
        raise UserError(
            f"{run} holds no */samples.npz; generate them with: "
            f"python -m papers.polymnist_2023.reproduce --out {run}"
        )
    readers, test = load_readers(run / "readers"), load_views((data or run / "data") / "test")
    made = {folder.name: load_samples(folder / "samples.npz") for folder in folders}
    real = measure_real(readers, test, smallest(made))
    report = {
        "real": real["numbers"],
        "systems": {
            system: _cost(run, system) | measure(readers, samples, test, real["reference"], seed)
            for system, samples in made.items()
        },
    }
    for file, text in (("report.json", json.dumps(report, indent=1)), ("table.md", table(report))):
        with new_file(out / file) as path:
            path.write_text(text + "\n")
    write_grid(out / "grid.png", test.pictures, made)
    print(table(report))


def smallest(made: Mapping[str, Samples]) -> int:
    """Pictures a view that every system has, of either kind: distances depend on the number."""
    counts = []
    for samples in made.values():
        sources = len(samples[name(VIEWS[:1], VIEWS[1])])
        counts += [sources * (len(VIEWS) - 1), len(samples[name((), VIEWS[0])])]
    return min(counts)


def measure(
    readers: Readers, samples: Samples, test: Views, reference: Features, seed: int
) -> dict[str, Any]:
    """Return all numbers of one system."""
    count = len(reference[VIEWS[0]])
    singles = {v: [samples[name((o,), v)] for o in VIEWS if o != v] for v in VIEWS}
    crossed = {v: _spread(torch.cat(parts), count) for v, parts in singles.items()}
    joint = {v: samples[name((), v)] for v in VIEWS}
    kinds = {"conditional": crossed, "joint": take(joint, slice(count))}
    features = {kind: features_of(readers, pictures) for kind, pictures in kinds.items()}
    return {
        "conditional": conditional(readers, samples, test.digit, seed),
        "joint": joint_coherence(readers, joint, test.digit),
        "frechet": {kind: _each(frechet_distance, reference, f) for kind, f in features.items()},
        "recall": {kind: _each(recall, reference, f) for kind, f in features.items()},
    }


def conditional(
    readers: Readers, samples: Samples, digit: Int[Tensor, "N"], seed: int
) -> dict[str, Any]:
    """Return the share of generated views that show the sources' digit, by number of inputs."""
    right: dict[int, list[Tensor]] = {}
    for given, wanted in subsets():
        for view in wanted if given else ():
            read = readers[view].predict(samples[name(given, view)])["digit"]
            right.setdefault(len(given), []).append((read == digit[: len(read)]).float())
    result = {}
    for size, rows in right.items():
        sources = torch.arange(len(rows[0])).repeat(len(rows))  # what rows of one source share
        interval = bootstrap_interval(torch.cat(rows), sources, seed=seed)
        result[str(size)] = {"coherence": mean(torch.cat(rows)), "ci95": interval}
    return result


def joint_coherence(readers: Readers, joint: Pictures, digit: Int[Tensor, "N"]) -> dict[str, float]:
    """Return the share of joint samples in which all views show one digit.

    Beside it how far the digits they show are from those of the data, or always the same digit
    would look like coherence.
    """
    read = [{"digit": readers[view].predict(joint[view])["digit"]} for view in VIEWS]
    shown = torch.cat([reading["digit"] for reading in read])
    return {
        "coherence": mean(agreement(read)),
        "total_variation": total_variation(shown, digit, DIGITS),
    }


def measure_real(readers: Readers, test: Views, count: int) -> dict[str, Any]:
    """Return what the readers say of real samples, and the features that others are held to."""
    half = len(test) // 2
    count = min(count, half)
    first, second = (
        features_of(readers, take(test.pictures, rows))
        for rows in (slice(count), slice(half, half + count))
    )
    read = [{"digit": readers[view].predict(test.pictures[view])["digit"]} for view in VIEWS]
    right = [mean(reading["digit"] == test.digit) for reading in read]
    numbers = {
        "readers": dict(zip(VIEWS, right, strict=True)),
        "joint": mean(agreement(read)),
        "frechet": _each(frechet_distance, second, first),
        "recall": _each(recall, second, first),
        "pictures": count,
    }
    return {"numbers": numbers, "reference": second}


def features_of(readers: Readers, pictures: Pictures) -> Features:
    """Return the readers' features of every view."""
    return {view: readers[view].features(batch) for view, batch in pictures.items()}


def _spread(rows: Float[Tensor, "B 3 H W"], count: int) -> Float[Tensor, "C 3 H W"]:
    """Return `count` of the rows, evenly from all of them."""
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]


def recall(real: Float[Tensor, "R D"], generated: Float[Tensor, "G D"]) -> float:
    """Return the share of real pictures on the manifold of the generated ones."""
    return precision_recall(real, generated)[1]


def _each(measure: Any, real: Features, other: Features) -> dict[str, float]:
    values = {view: measure(real[view], other[view]) for view in VIEWS}
    return values | {"mean": fmean(values.values())}


def _cost(run: Path, system: str) -> dict[str, Any]:
    """Return what training took, where that is known."""
    path = run / system / "training.json"
    if path.is_file():
        return {"training": json.loads(path.read_text())}
    known = system == "ours" and all((run / stage / "done.json").is_file() for stage in OURS)
    return {"training": {"cpu_seconds": our_seconds(run)}} if known else {}


if __name__ == "__main__":
    command(evaluate)
