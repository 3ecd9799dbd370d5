"""What an embedding knows: linear probes of every factor, on held-out embeddings.

    python -m multimodal.probes --embeddings runs/e --world data/world

A generator can draw only what its embedding carries, so this is the gate before generators train.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.cli import command
from core.files import new_file
from core.members import decode_npy
from core.shards import ShardReader
from multimodal.tuples import CARRIED, MODALITIES, check_world, told


@dataclass(frozen=True)
class Probes:
    """What reads the embeddings of one modality."""

    labels: Mapping[str, Any]
    """Factor -> a fitted logistic regression; its classes are the factor's values in the world."""
    size: Any
    """A fitted ridge regression of the size."""


def probes(
    embeddings: Path,
    world: Path,
    out: Path | None = None,
    samples: int = 4000,
    noise: float = 0.0,
) -> dict[str, dict[str, float]]:
    """Fit logistic and ridge probes on training embeddings and score them on validation.

    Args:
        embeddings: What `python -m multimodal.embed` wrote.
        world: The world that was embedded.
        out: Also write the table there, as JSON.
        samples: Training samples at most.
        noise: Length of Gaussian noise added before (generators see 0.4).
    """
    train, val = (read(embeddings / s, world / s, samples, noise) for s in ("train", "val"))
    table = {m: accuracies(fit(m, train), m, val) for m in MODALITIES}
    for modality, scores in table.items():
        print(modality, *(f"{factor} {score:.3f}" for factor, score in scores.items()))
    if out is not None:
        with new_file(out) as file:
            file.write_text(json.dumps(table, indent=1))
    return table


def read(embeddings: Path, world: Path, samples: int, noise: float) -> dict[str, Any]:
    """Return a split's factors and its embeddings, a matrix a modality."""
    rows, signals = ShardReader(embeddings), ShardReader(world)
    check_world(signals)
    count = min(samples, len(signals))
    factors = [json.loads(signals.read(i, ["json"])["json"]) for i in range(count)]
    held = [rows.read(i) for i in range(count)]
    carried = told(signals.manifest).get("carried", CARRIED)
    split: dict[str, Any] = {"factors": factors, "carried": carried}
    random = np.random.default_rng(0)
    for modality in MODALITIES:
        points = np.stack([decode_npy(row[f"{modality}.npy"]).numpy() for row in held])
        points = points + random.normal(size=points.shape) * noise / points.shape[1] ** 0.5
        split[modality] = points / np.linalg.norm(points, axis=1, keepdims=True)
    return split


def fit(modality: str, train: dict[str, Any]) -> Probes:
    """Fit the probes of one modality on a split that `read` returned."""
    from sklearn.linear_model import LogisticRegression, Ridge

    x, factors = train[modality], train["factors"]
    labels = {
        factor: LogisticRegression(C=100, max_iter=500).fit(x, [row[factor] for row in factors])
        for factor in train["carried"][modality]
    }
    return Probes(labels, Ridge(0.01).fit(x, [row["size"] for row in factors]))


def accuracies(fitted: Probes, modality: str, val: dict[str, Any]) -> dict[str, float]:
    """Return accuracy of each discrete factor, and rank correlation of size, on another split."""
    from scipy.stats import spearmanr

    x, factors = val[modality], val["factors"]
    scores = {
        factor: float(probe.score(x, [row[factor] for row in factors]))
        for factor, probe in fitted.labels.items()
    }
    sizes = [row["size"] for row in factors]
    return scores | {"size": float(spearmanr(fitted.size.predict(x), sizes)[0])}  # pyright: ignore


if __name__ == "__main__":
    command(probes)
