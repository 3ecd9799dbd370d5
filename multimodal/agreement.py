"""What the second readers say: accuracy, agreement with the first, and the headline by them.

If generated signals were to fool one kind of reader, the two would part on them more than they do
on real ones, and the headlines would differ.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from multimodal.metrics import Reading, factor_accuracy, matches, mean
from multimodal.scores import Readouts, Results, all_directions, joint, summarise
from multimodal.tuples import MODALITIES, Signals

JUDGED = ("strict_mean", "strict_min", "ratio_mean", "ratio_min", "diagonal_ratio_mean")
"""Numbers of a summary that rest on labels alone."""


@runtime_checkable
class Labeller(Protocol):
    """Says what a batch of signals of one modality shows, and no more."""

    def predict(self, signal: Any) -> dict[str, Int[Tensor, "B"]]:
        """Labels by factor; -1 where there is nothing to read."""
        ...


SecondReaders = Mapping[str, Labeller]


def read_again(
    results: Results, readers: SecondReaders, made: Mapping[str, Signals], together: Signals
) -> Results:
    """Return the same results with the second readers' labels.

    Args:
        results: What the first readers say of the same signals; size and features stay theirs.
        readers: The second readers.
        made: Source modality to what was generated from it.
        together: The joint samples.
    """
    return replace(
        results,
        read=_relabel(results.read, readers, results.real.signals),
        made={m: _relabel(results.made[m], readers, signals) for m, signals in made.items()},
        joint=_relabel(results.joint, readers, together),
    )


def compare_readers(first: Results, second: Results) -> dict[str, Any]:
    """Return accuracy and agreement of both readers, and what the second make of the run."""
    directions = all_directions(second)
    kept = ("strict", "ci95", "reference", "ratio")
    summary, agree = summarise(directions), joint(second)
    return {
        "readers": {modality: _pair(first, second, modality) for modality in MODALITIES},
        "directions": {name: {k: row[k] for k in kept} for name, row in directions.items()},
        "summary": {name: summary[name] for name in JUDGED},
        "joint": {name: agree[name] for name in ("unconditional", "ci95", "reference", "ratio")},
    }


def _relabel(readouts: Readouts, readers: SecondReaders, signals: Signals) -> Readouts:
    said = {m: readers[m].predict(x) for m, x in signals.items()}
    return {
        m: replace(readouts[m], labels={f: labels[f] for f in readouts[m].labels})
        for m, labels in said.items()
    }


def _pair(first: Results, second: Results, modality: str) -> dict[str, dict[str, float]]:
    """Each factor on its own, and all of them together as `strict`."""
    factors, truth = first.real.carried[modality], first.real.truth
    own = [r.read[modality].labels for r in (first, second)]
    made = [_all_made(r, modality) for r in (first, second)]
    columns = {
        "first": _shares(own[0], truth, factors),
        "second": _shares(own[1], truth, factors),
        "agree_real": _shares(own[0], own[1], factors),
        "agree_made": _shares(made[0], made[1], factors),
        "agree_joint": _shares(
            first.joint[modality].labels, second.joint[modality].labels, factors
        ),
    }
    return {f: {name: column[f] for name, column in columns.items()} for f in (*factors, "strict")}


def _shares(one: Reading, other: Reading, factors: tuple[str, ...]) -> dict[str, float]:
    shares = factor_accuracy(one, other, factors) | {"strict": mean(matches(one, other, factors))}
    return {factor: round(share, 4) for factor, share in shares.items()}


def _all_made(results: Results, modality: str) -> dict[str, Int[Tensor, "B"]]:
    """Labels of a modality's signals from all four sources."""
    readings = [results.made[source][modality].labels for source in MODALITIES]
    factors = results.real.carried[modality]
    return {f: torch.cat([reading[f] for reading in readings]) for f in factors}
