"""What is known of a checkpoint: the data it was trained on, and what was measured of it.

Nothing is taken on trust: a manifest counts if its hash is the one in the checkpoint, a report if
it is of the same run and not older than the checkpoint.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.checkpoint import data_order
from core.errors import UserError
from core.manifest import Manifest

REPORT = "report.json"
"""Of a run, as `python -m multimodal.evaluate` and the quick start write it."""


@dataclass(frozen=True)
class Figure:
    """One number that was measured."""

    name: str
    """What it says."""
    value: float
    """The number."""
    origin: str
    """The command or the file that it comes from."""


def dataset_ids(found: Mapping[str, Any]) -> list[str]:
    """Return the hashes of what a checkpoint was trained on: samples, then embeddings if any."""
    return str(data_order(found).get("dataset_id", "")).split("+")


def manifest_of(found: Mapping[str, Any], path: Path) -> Manifest | None:
    """Return the manifest of the samples that a checkpoint was trained on, if it is at hand.

    It is looked for where the configuration beside the checkpoint says, and in the run's folder.

    Args:
        found: What the checkpoint holds.
        path: The checkpoint.
    """
    for folder in _data_folders(path):
        try:
            manifest = Manifest.load(folder)
        except (UserError, OSError):
            continue
        if manifest.dataset_id == dataset_ids(found)[0]:
            return manifest
    return None


def _data_folders(path: Path) -> Iterator[Path]:
    """Yield where the training data may be: told by the run, or in a folder beside it."""
    config = path.parent / "config.yaml"
    told = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else None
    data = (told or {}).get("data") or {}
    if "root" in data and "://" not in str(data["root"]):
        yield Path(data["root"]) / str(data.get("train", "train"))
    yield from sorted(path.absolute().parents[1].glob("*/train"))


def trained_figures(found: Mapping[str, Any], path: Path) -> list[Figure]:
    """Return what the last validation before the checkpoint logged.

    Args:
        found: What the checkpoint holds.
        path: The checkpoint, with metrics.csv beside it.
    """
    log = path.parent / "metrics.csv"
    if not log.is_file():
        return []
    with log.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if _validated(row, found)]
    last = rows[-1] if rows else {}
    told = {name: value for name, value in last.items() if name.startswith("val/") and value}
    origin = f"validation at step {last.get('step')}, `metrics.csv` of the run"
    return [Figure(name, float(value), origin) for name, value in told.items()]


def _validated(row: Mapping[str, str], found: Mapping[str, Any]) -> bool:
    """Tell whether a row of the log is of a validation, and not of what came later."""
    known = any(value for name, value in row.items() if name and name.startswith("val/"))
    return known and int(row["step"]) < found.get("global_step", 0)


def report_of(path: Path) -> Mapping[str, Any] | None:
    """Return the report of the run that a checkpoint is of, unless it is an older one.

    Args:
        path: The checkpoint, at <run>/<stage>/last.ckpt.
    """
    report = path.absolute().parents[1] / REPORT
    if path.name != "last.ckpt" or not report.is_file():
        return None
    if report.stat().st_mtime < path.stat().st_mtime:
        return None
    try:
        held = json.loads(report.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return held if isinstance(held, dict) and "directions" in held else None


def reported_figures(report: Mapping[str, Any] | None, target: str) -> list[Figure]:
    """Return what a report says of the signals that were generated of one modality.

    Args:
        report: Of the run; None for none.
        target: The modality.
    """
    if report is None:
        return []
    origin = measured_by(report)
    figures = []
    for direction, held in report["directions"].items():
        source, _, made = direction.partition("->")
        if made == target:
            name = f"{source} to {target}: strict"
            figures.append(
                Figure(f"{name} (readers find every shared factor)", held["strict"], origin)
            )
            figures.append(Figure(f"{name}, of real signals", held["reference"], origin))
    for name in ("recall", "precision", "frechet"):
        held = report.get("diversity", {}).get(target, {})
        if name in held:
            figures.append(Figure(f"{name} of {target}", held[name], origin))
            figures.append(Figure(f"{name} of other real signals", held[f"{name}_real"], origin))
    return figures


def measured_by(report: Mapping[str, Any]) -> str:
    """Return the command that measured a report."""
    asked = " ".join(f"--{name} {report[name]}" for name in ("split", "n", "seed"))
    return f"`python -m multimodal.evaluate {asked}`"
