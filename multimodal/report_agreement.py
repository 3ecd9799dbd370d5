"""The second readers beside the first, in the page and in the README."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from multimodal.report_html import share, table

NOTE = (
    "For each signal a reader of another kind, trained on the same split: gradients of the"
    " straightened ink, histograms of colours, phase correlation, cepstra and counts of words"
    " where the first are networks, plain code and a parser. If both are right on real signals and"
    " agree on generated ones, what they name is there to see."
)
HEADLINE = {
    "ratio_mean": "strict over reference, mean of the twelve cross directions",
    "ratio_min": "strict over reference, the lowest of the twelve",
    "diagonal_ratio_mean": "strict over reference on the diagonal, mean",
    "unconditional": "joint samples from nothing that agree",
    "ratio": "the same over that of real tuples",
}


def agreement_tables(report: Mapping[str, Any]) -> str:
    """Accuracy and agreement of the readers, and both their headlines."""
    rows = [[*names, *map(share, numbers)] for *names, numbers in reader_rows(report)]
    head = ["reader", "factor", "first", "second", "agree on real", "on generated", "on joint"]
    both = [[label, share(one), share(other)] for label, one, other in headline_rows(report)]
    again = report["agreement"]["directions"]
    directions = [
        [name.replace("->", " → "), *_judged(report["directions"][name]), *_judged(row)]
        for name, row in again.items()
    ]
    titles = ["direction", *2 * ["strict", "95 %", "reference", "ratio"]]
    return (
        f"{table(head, rows)}{table(['headline', 'by the first', 'by the second'], both)}"
        "<details><summary>Every direction by both: the first four columns are the first readers'"
        f"</summary>{table(titles, directions)}</details>"
    )


def reader_rows(report: Mapping[str, Any]) -> Iterable[tuple[str, str, Sequence[float]]]:
    """Modality, factor, and accuracy of both readers and their agreement on three sets."""
    for modality, factors in report["agreement"]["readers"].items():
        for factor, row in factors.items():
            yield modality, factor, list(row.values())


def headline_rows(report: Mapping[str, Any]) -> Iterable[tuple[str, float, float]]:
    """A headline, by the first readers and by the second."""
    again = report["agreement"]
    first, second = (part["summary"] | part["joint"] for part in (report, again))
    for name, label in HEADLINE.items():
        yield label, first[name], second[name]


def _judged(row: Mapping[str, Any]) -> list[str]:
    low, high = row["ci95"]
    interval = f"{share(low)}&ndash;{share(high)}"
    return [share(row["strict"]), interval, share(row["reference"]), share(row["ratio"])]
