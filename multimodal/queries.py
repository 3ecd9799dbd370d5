"""Partial queries and two sources: what was asked must show, what was left open must stay open.

"Something red" determines a colour only. The outputs must show it, must agree about all that it
leaves open, and over many samples the open factors must be spread as they are in training: a model
that always draws a red seven would agree with itself and answer nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from core.noise import mix
from multimodal.captions import query
from multimodal.directions import make, read
from multimodal.factors import COLOURS, LABELS, MOTIONS, Factor, Factors, held_out
from multimodal.metrics import Reading, agreement, matches, mean
from multimodal.readers import Reader
from multimodal.systems import System
from multimodal.tuples import CARRIED, MODALITIES, Tuples, pick

FLOOR_DRAWS = 100


@dataclass(frozen=True)
class Ask:
    """One kind of query."""

    mentions: tuple[Factor, ...]
    """What the text says."""
    image: bool = False
    """Whether a picture is given besides, which determines digit and colour."""

    @property
    def determined(self) -> tuple[str, ...]:
        """The labels that the sources fix together."""
        fixed = {*self.mentions, *(CARRIED["image"] if self.image else ())}
        return tuple(factor for factor in LABELS if factor in fixed)


ASKS: Mapping[str, Ask] = {
    "a digit": Ask(("digit",)),
    "a colour": Ask(("colour",)),
    "a motion": Ask(("motion",)),
    "a colour and a motion": Ask(("colour", "motion")),
    "a picture and a motion": Ask(("motion",), image=True),
}


def measure_queries(
    system: System, readers: Mapping[str, Reader], real: Tuples, n: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Answer every kind of query for the first n samples, and score the answers."""
    table = {}
    for number, (name, ask) in enumerate(ASKS.items()):
        observed = {"text": texts(real, ask, n, seed)}
        if ask.image:
            observed["image"] = pick(real.signals["image"], range(n))
        seeds = mix(seed, 16 + number, torch.arange(n)).tolist()
        made = read(readers, make(system, observed, seeds).signals)
        said = {modality: readout.labels for modality, readout in made.items()}
        truth = {f: x[:n] for f, x in real.truth.items()}
        table[name] = score_query(ask, said, truth, real.carried)
    return table


def texts(real: Tuples, ask: Ask, n: int, seed: int) -> list[str]:
    """Return a query for each of the first n samples that mentions what `ask` says."""
    rng = np.random.default_rng(seed)
    truth = {factor: labels.tolist() for factor, labels in real.truth.items()}
    rows = (
        Factors(truth["digit"][i], COLOURS[truth["colour"][i]], MOTIONS[truth["motion"][i]], 0.5)
        for i in range(n)
    )
    return [query(row, ask.mentions, "en", rng) for row in rows]


def score_query(
    ask: Ask,
    said: Mapping[str, Reading],
    truth: Reading,
    carried: Mapping[str, tuple[str, ...]] = CARRIED,
) -> dict[str, Any]:
    """Return accuracy by target, agreement of all outputs, and distances of the open factors."""
    shown = {m: [f for f in ask.determined if f in carried[m]] for m in MODALITIES}
    right = {m: mean(matches(said[m], truth, shown[m])) for m in MODALITIES if shown[m]}
    given = torch.stack([truth[factor] for factor in ask.determined], dim=1)
    opened = {
        m: {
            factor: open_distance(
                said[m][factor], given, conditional(ask.determined, factor, given)
            )
            for factor in carried[m]
            if factor not in ask.determined
        }
        for m in MODALITIES
    }
    return {
        "n": len(given),
        "determined": list(ask.determined),
        "strict": {m: round(value, 4) for m, value in right.items()},
        "agree": round(mean(agreement([said[m] for m in MODALITIES])), 4),
        "open": {m: distances for m, distances in opened.items() if distances},
    }


def open_distance(
    said: Int[Tensor, "N"], given: Int[Tensor, "N L"], expected: Float[Tensor, "N K"]
) -> dict[str, float]:
    """Return the total variation of an open factor given the determined ones, and its floor.

    Distances are taken among samples with equal determined labels and averaged over samples; what
    cannot be read counts as a label of its own. The floor is the same of labels drawn from the
    expected distribution: so many samples cannot be expected to come nearer.
    """
    _, group = given.unique(dim=0, return_inverse=True)
    generator = torch.Generator().manual_seed(0)
    draws = torch.multinomial(expected, FLOOR_DRAWS, replacement=True, generator=generator)
    floors = [_grouped_distance(drawn, group, expected) for drawn in draws.T]
    return {
        "distance": round(_grouped_distance(said, group, expected), 4),
        "floor": round(sum(floors) / len(floors), 4),
    }


def conditional(
    determined: Sequence[str], factor: str, given: Int[Tensor, "N L"]
) -> Float[Tensor, "N K"]:
    """Return how training spreads a factor, given the determined labels of each sample."""
    axes = list(LABELS)
    kept = [axes.index(f) for f in (*determined, factor)]
    others = tuple(axis for axis in range(len(axes)) if axis not in kept)
    table = training_table()
    table = table.sum(dim=others) if others else table
    order = sorted(kept)
    table = table.permute([order.index(axis) for axis in kept])
    rows = table[tuple(given.T)]
    return rows / rows.sum(dim=1, keepdim=True)


@cache
def training_table() -> Float[Tensor, "digits colours motions"]:
    """Return the probability of each combination in training: the held-out ones have none."""
    seen = [
        [[not held_out(d, colour, motion) for motion in MOTIONS] for colour in COLOURS]
        for d in range(LABELS["digit"])
    ]
    table = torch.tensor(seen).double()
    return table / table.sum(dim=(1, 2), keepdim=True) / LABELS["digit"]


def _grouped_distance(
    labels: Int[Tensor, "N"], group: Int[Tensor, "N"], expected: Float[Tensor, "N K"]
) -> float:
    wide = torch.nn.functional.pad(expected, (1, 0))  # a column for what cannot be read
    found = one_hot(labels + 1, wide.shape[1]).to(wide)
    difference = wide.new_zeros(int(group.max()) + 1, wide.shape[1])
    difference.index_add_(0, group, found - wide)
    return float(difference.abs().sum() / 2 / len(labels))
