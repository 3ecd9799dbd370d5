"""What an embedding knows: linear probes of every factor, on held-out embeddings.

    python -m multimodal.probes --embeddings runs/e --world data/world

A generator can draw only what its embedding carries, so this is the gate before generators train.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from core.cli import command
from core.files import new_file
from core.members import decode_npy
from core.shards import ShardReader
from multimodal.tuples import CARRIED, MODALITIES, told


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
    table = {m: _scores(m, train, val) for m in MODALITIES}
    for modality, scores in table.items():
        print(modality, *(f"{factor} {score:.3f}" for factor, score in scores.items()))
    if out is not None:
        with new_file(out) as file:
            file.write_text(json.dumps(table, indent=1))
    return table


def read(embeddings: Path, world: Path, samples: int, noise: float) -> dict[str, Any]:
    """Return a split's factors and its embeddings, a matrix a modality."""
    rows, signals = ShardReader(embeddings), ShardReader(world)
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


def _scores(modality: str, train: dict[str, Any], val: dict[str, Any]) -> dict[str, float]:
    """Return accuracy of each discrete factor, and rank correlation of size."""
    from scipy.stats import spearmanr
    from sklearn.linear_model import LogisticRegression, Ridge

    x, x_val = train[modality], val[modality]
    scores = {}
    for factor in train["carried"][modality]:
        y, y_val = ([row[factor] for row in split["factors"]] for split in (train, val))
        probe = LogisticRegression(C=100, max_iter=500).fit(x, y)
        scores[factor] = float(probe.score(x_val, y_val))
    y, y_val = ([row["size"] for row in split["factors"]] for split in (train, val))
    scores["size"] = float(spearmanr(Ridge(0.01).fit(x, y).predict(x_val), y_val)[0])  # pyright: ignore
    return scores


if __name__ == "__main__":
    command(probes)
