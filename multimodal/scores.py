"""From readings to the numbers of a report: directions, joint samples, diversity."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from multimodal.directions import Readout
from multimodal.factors import LABELS
from multimodal.metrics import (
    agreement,
    bootstrap_interval,
    factor_accuracy,
    frechet_distance,
    kernel_distance,
    matches,
    mean,
    nearest_distance,
    on_manifold,
    precision_recall,
    rank_correlation,
    total_variation,
)
from multimodal.queries import conditional, open_distance
from multimodal.tuples import MODALITIES, Tuples

Readouts = Mapping[str, Readout]
"""Modality to what its reader said."""


@dataclass(frozen=True)
class Results:
    """Everything that was read."""

    real: Tuples
    """Real samples: the sources first, others behind them."""
    n: int
    """How many of the real samples were sources."""
    read: Readouts
    """What the readers say of the real samples."""
    made: Mapping[str, Readouts]
    """Source modality to what they say of the signals generated from it."""
    joint: Readouts
    """What they say of the joint unconditional samples."""
    trained: Mapping[str, Float[Tensor, "T D"]] = field(default_factory=dict)
    """Modality to features of training signals, for the nearest of them; may be left out."""
    factors: Sequence[str] = tuple(LABELS)
    """Labels that directions are scored on: all, unless some cannot be known."""


def score(results: Results, seconds: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """All numbers of a report; `seconds` of each source and target go beside them."""
    directions = all_directions(results)
    for name, row in directions.items():
        source, target = name.split("->")
        row["samples_per_s"] = round(1 / seconds[source][target], 2)
    spread = {modality: diversity(results, modality) for modality in MODALITIES}
    return {
        "n": results.n,
        "directions": directions,
        "summary": summarise(directions),
        "joint": joint(results),
        "one_to_rest": {source: one_to_rest(results, source) for source in MODALITIES},
        "recall": {modality: row["recall"] for modality, row in spread.items()},
        "diversity": spread,
        "readers": {modality: reader(results, modality) for modality in MODALITIES},
    }


def headlines(report: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a report by which runs are compared, under flat names."""
    rest = report["one_to_rest"].values()
    return {
        **report["summary"],
        "joint": report["joint"]["unconditional"],
        "joint_ratio": report["joint"]["ratio"],
        "one_to_rest_ratio": _average(row["ratio"] for row in rest),
        **{f"recall_{modality}": value for modality, value in report["recall"].items()},
    }


def spread(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation (n - 1) of each headline over repetitions, and the values."""
    rows = [headlines(report) for report in reports]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        name: {
            "mean": _round(statistics.mean(values)),
            "sd": _round(statistics.stdev(values)),
            "values": values,
        }
        for name, values in columns.items()
    }


def strict_factors(results: Results, source: str, target: str) -> tuple[str, ...]:
    """Labels that the source determines, the target carries, and that are scored."""
    carried = results.real.carried
    return tuple(f for f in carried[source] if f in carried[target] and f in results.factors)


def all_directions(results: Results) -> dict[str, dict[str, Any]]:
    """The sixteen cells of the matrix."""
    return {f"{s}->{t}": direction(results, s, t) for s in MODALITIES for t in MODALITIES}


def direction(results: Results, source: str, target: str) -> dict[str, Any]:
    """One cell of the matrix: what was asked for against what was read, beside its reference."""
    factors, n = strict_factors(results, source, target), results.n
    truth = {factor: labels[:n] for factor, labels in results.real.truth.items()}
    made = results.made[source][target]
    right = matches(made.labels, truth, factors)
    strict, clusters = mean(right), results.real.instances[source][:n]
    reference = _real_accuracy(results, source, factors) * _real_accuracy(results, target, factors)
    return {
        "n": n,
        "strict": _round(strict),
        "ci95": [_round(end) for end in bootstrap_interval(right.float(), clusters)],
        "factors": {k: _round(v) for k, v in factor_accuracy(made.labels, truth, factors).items()},
        "reference": _round(reference),
        "ratio": _ratio(strict, reference),
        "size": _size(results, source, target),
    }


def summarise(directions: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Means and minima over the twelve cross directions; the diagonal stands apart."""
    cross = [row for name, row in directions.items() if len(set(name.split("->"))) == 2]
    diagonal = [row for name, row in directions.items() if len(set(name.split("->"))) == 1]
    sized = [row for row in cross if row["size"]["ratio"] is not None]
    return {
        "strict_mean": _average(row["strict"] for row in cross),
        "strict_min": min(row["strict"] for row in cross),
        "ratio_mean": _average(row["ratio"] for row in cross),
        "ratio_min": min(row["ratio"] for row in cross),
        "size_mean": _average(row["size"]["correlation"] for row in sized),
        "size_ratio_mean": _average(row["size"]["ratio"] for row in sized),
        "diagonal_mean": _average(row["strict"] for row in diagonal),
        "diagonal_ratio_mean": _average(row["ratio"] for row in diagonal),
    }


def joint(results: Results) -> dict[str, Any]:
    """Whether signals sampled together from nothing agree, and whether they show all there is."""
    readings = [results.joint[modality].labels for modality in MODALITIES]
    agree = agreement(readings)
    real = agreement([results.read[modality].labels for modality in MODALITIES])
    return {
        "n": len(agree),
        "unconditional": _round(mean(agree)),
        "ci95": [_round(x) for x in bootstrap_interval(agree.float(), torch.arange(len(agree)))],
        "reference": _round(mean(real)),
        "ratio": _ratio(mean(agree), mean(real)),
        "factors": {
            factor: _round(mean(agreement([{factor: r[factor]} for r in readings if factor in r])))
            for factor in LABELS
        },
        "total_variation": _distance_from_real(results),
    }


def one_to_rest(results: Results, source: str) -> dict[str, Any]:
    """Whether the three others made from one source agree, with it and where it leaves them open.

    Beside it the same of real tuples as read, and how far each open factor's labels are from what
    training has for such sources (total variation, above the floor of so many draws).
    """
    n, rest = results.n, [m for m in MODALITIES if m != source]
    told = {factor: results.real.truth[factor][:n] for factor in results.real.carried[source]}
    made = results.made[source]
    agree = agreement([told, *(made[m].labels for m in rest)])
    real = agreement([results.read[m].labels for m in MODALITIES])
    given, clusters = torch.stack(list(told.values()), dim=1), results.real.instances[source][:n]
    return {
        "n": n,
        "agree": _round(mean(agree)),
        "ci95": [_round(end) for end in bootstrap_interval(agree.float(), clusters)],
        "reference": _round(mean(real)),
        "ratio": _ratio(mean(agree), mean(real)),
        "open": {
            f"{target} {factor}": open_distance(
                made[target].labels[factor], given, conditional(tuple(told), factor, given)
            )
            for target in rest
            for factor in results.real.carried[target]
            if factor not in told
        },
    }


def diversity(results: Results, modality: str) -> dict[str, Any]:
    """Coverage of the real by what was generated, each beside the same figure of other real ones.

    The generated set takes its i-th sample from one of the three other modalities in turn, so each
    source counts once. All sets are of one size, as distances depend on it: n, or half of the real
    signals if there are not twice as many.
    """
    n = min(results.n, len(results.real) // 2)
    sources = [source for source in MODALITIES if source != modality]
    rows = [results.made[sources[i % 3]][modality].features[i] for i in range(n)]
    made, real = torch.stack(rows), results.read[modality].features[:n]
    others = results.read[modality].features[n : 2 * n]
    row = {"n": n} | _spread(real, made)
    row |= {f"{name}_real": value for name, value in _spread(real, others).items()}
    digits = results.real.truth["digit"][:n]
    covered = on_manifold(real, made, k=3)
    row["recall_by_digit"] = [
        _round(mean(covered[digits == d])) if (digits == d).any() else None
        for d in range(LABELS["digit"])
    ]
    if modality in results.trained:
        known = results.trained[modality]
        row["nearest_training"] = _round(nearest_distance(made, known))
        row["nearest_training_real"] = _round(nearest_distance(real, known))
    return row


def _spread(real: Float[Tensor, "P D"], other: Float[Tensor, "Q D"]) -> dict[str, Any]:
    precision, recall = precision_recall(real, other)
    return {
        "recall": _round(recall),
        "precision": _round(precision),
        "frechet": _round(frechet_distance(real, other)),
        "kid": round(kernel_distance(real, other), 6),
    }


def reader(results: Results, modality: str) -> dict[str, Any]:
    """How well a reader reads real signals of this split."""
    factors = results.real.carried[modality]
    accuracy = factor_accuracy(results.read[modality].labels, results.real.truth, factors)
    accuracy["strict"] = _real_accuracy(results, modality, factors)
    size = rank_correlation(results.read[modality].size, results.real.size)
    return {"n": len(results.real)} | {k: _round(v) for k, v in (accuracy | {"size": size}).items()}


def _real_accuracy(results: Results, modality: str, factors: tuple[str, ...]) -> float:
    return mean(matches(results.read[modality].labels, results.real.truth, factors))


def _size(results: Results, source: str, target: str) -> dict[str, float | None]:
    """Rank correlation of the size asked for with that measured, beside the readers' own.

    None where a world's source or target does not tell it.
    """
    if not {source, target} <= results.real.sized:
        return dict.fromkeys(("correlation", "reference", "ratio"))
    truth = results.real.size
    asked = rank_correlation(results.made[source][target].size, truth[: results.n])
    own = [rank_correlation(results.read[m].size, truth) for m in (source, target)]
    reference = own[0] * own[1]
    return {
        "correlation": _round(asked),
        "reference": _round(reference),
        "ratio": _ratio(asked, reference),
    }


def _distance_from_real(results: Results) -> dict[str, float]:
    """Distance of the labels' distribution in joint clips from that in real ones."""
    made, real = results.joint["video"].labels, results.read["video"].labels
    return {k: _round(total_variation(made[k], real[k], n)) for k, n in LABELS.items()}


def _ratio(value: float, reference: float) -> float:
    return _round(value / reference) if reference > 0 else 0.0


def _average(values: Iterable[float]) -> float:
    listed = list(values)
    return _round(sum(listed) / len(listed))


def _round(value: float | Tensor) -> float:
    return round(float(value), 4)
