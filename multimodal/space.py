"""What the shared space holds, measured on embeddings alone: nothing is generated here.

Retrieval, zero-shot labels, the gap between modalities, and arithmetic with words. Embeddings are
rows of unit length; row i of every modality belongs to the same sample.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

import torch
from einops import reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from multimodal.captions import LANGUAGES
from multimodal.metrics import mean
from multimodal.systems import Towers, embed_all
from multimodal.tuples import MODALITIES, Tuples

RANKS = (1, 5, 10)
PHRASES: Mapping[str, Sequence[str]] = {
    "digit": LANGUAGES["en"].digits,
    "colour": LANGUAGES["en"].colours,
    "motion": LANGUAGES["en"].bare,
}
"""The one phrase that stands for each label: what a person would type."""

Embeddings = Mapping[str, Float[Tensor, "N E"]]


def measure_space(system: Towers, real: Tuples) -> dict[str, Any]:
    """Return all measures of the space on real signals; the system's towers embed them."""
    rows = embed_all(system, real.signals)
    words = {f: embed_all(system, {"text": list(p)})["text"] for f, p in PHRASES.items()}
    return {
        "n": len(real),
        "retrieval": retrieval(rows, real),
        "zero_shot": {
            modality: {
                factor: zero_shot(rows[modality], words[factor], real.truth[factor])
                for factor in real.carried[modality]
            }
            for modality in MODALITIES
            if modality != "text"
        },
        "gap": gaps(rows),
        "arithmetic": {
            modality: recolouring(rows[modality], words["colour"], real.truth)
            for modality in MODALITIES
            if modality != "text"
        },
    }


def retrieval(rows: Embeddings, real: Tuples) -> dict[str, dict[str, float]]:
    """Return R@k of each ordered pair, and what one who knows only the labels would reach.

    The label ceiling ranks the samples that share all labels which both modalities carry before the
    others, ties at random. The size is no label, so a space that holds it can do better.
    """
    table = {}
    for source, target in permutations(MODALITIES, 2):
        rank = ranks(rows[source] @ rows[target].T)
        shared = [f for f in real.carried[source] if f in real.carried[target]]
        alike = alike_counts(torch.stack([real.truth[f] for f in shared], dim=1))
        row = {f"R@{k}": mean(rank < k) for k in RANKS}
        row |= {f"R@{k} of labels": mean((k / alike).clamp(max=1)) for k in RANKS}
        table[f"{source}->{target}"] = {name: round(value, 4) for name, value in row.items()}
    return table


def ranks(similarity: Float[Tensor, "N M"]) -> Int[Tensor, "N"]:
    """Return how many columns are more similar to row i than column i is."""
    return (similarity > similarity.diagonal()[:, None]).sum(dim=1)


def alike_counts(labels: Int[Tensor, "N L"]) -> Float[Tensor, "N"]:
    """Return for each sample how many have all its labels, itself included."""
    _, group, counts = labels.unique(dim=0, return_inverse=True, return_counts=True)
    return counts[group].float()


def zero_shot(
    rows: Float[Tensor, "N E"], words: Float[Tensor, "L E"], truth: Int[Tensor, "N"]
) -> dict[str, Any]:
    """Return accuracy, macro precision, recall and F1, and the confusion of the nearest word."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    said, labels = (rows @ words.T).argmax(dim=1), list(range(len(words)))
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth.numpy(),
        said.numpy(),
        labels=labels,
        average="macro",
        zero_division=0,  # pyright: ignore[reportArgumentType]
    )
    scores = {"accuracy": mean(said == truth), "precision": precision, "recall": recall, "f1": f1}
    return {name: round(float(value), 4) for name, value in scores.items()} | {
        "confusion": confusion_matrix(truth.numpy(), said.numpy(), labels=labels).tolist()
    }


def gaps(rows: Embeddings) -> dict[str, float]:
    """Return the distance between the mean embeddings of each pair of modalities.

    Source: Liang et al. 2022 (Mind the Gap), section 2.
    """
    centres = {m: reduce(x, "N E -> E", "mean") for m, x in rows.items()}
    return {
        f"{a}-{b}": round(float((centres[a] - centres[b]).norm()), 4)
        for a, b in combinations(MODALITIES, 2)
    }


def recolouring(
    rows: Float[Tensor, "N E"],
    colours: Float[Tensor, "L E"],
    truth: Mapping[str, Int[Tensor, "N"]],
) -> dict[str, float]:
    """Return how often "red seven" - "red" + "blue" lies nearest to a blue seven of its modality.

    Every sample is turned into the next colour; itself is no candidate. Beside it the success
    without arithmetic, which is that of a sample whose colour happens to be the wished one.
    """
    wished = (truth["colour"] + 1) % len(colours)
    moved = normalize(rows - colours[truth["colour"]] + colours[wished], dim=-1)
    right = {}
    for name, points in (("success", moved), ("without", rows)):
        nearest = _nearest_other(points, rows)
        same = truth["digit"][nearest] == truth["digit"]
        right[name] = round(mean(same & (truth["colour"][nearest] == wished)), 4)
    return right


def _nearest_other(points: Float[Tensor, "N E"], rows: Float[Tensor, "N E"]) -> Int[Tensor, "N"]:
    itself: Bool[Tensor, "N N"] = torch.eye(len(rows), dtype=torch.bool)
    return (points @ rows.T).masked_fill(itself, -torch.inf).argmax(dim=1)
