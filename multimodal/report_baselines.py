"""The table of baselines: what each part of the whole buys, and where it buys nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from multimodal.report_html import escape, share, table

COLUMNS = (
    "mean ratio",
    "lowest",
    "size",
    "one to the rest",
    "joint",
    "unseen",
    "open factors",
    "recall, least",
)
"""Headlines by which systems are compared; what each is stands in `NOTE`."""

NOTE = (
    "The same sources, readers and noise. Mean ratio and lowest: strict over reference of the"
    " twelve cross directions; size: rank correlation over its reference; one to the rest: over"
    " its reference, mean; joint: samples from nothing that agree; unseen: mean ratio on"
    " combinations that training never saw; open factors: the largest total-variation distance"
    " above its floor; recall: of the real, the modality with the least. Copy and label pipeline"
    " hand out what training holds, so nothing unseen can come of them."
)


def baseline_values(system: Mapping[str, Any]) -> list[float | None]:
    """Return the headlines of one system, in the order of `COLUMNS`."""
    summary, rest = system["summary"], system["one_to_rest"]
    unseen = system.get("composition")
    return [
        summary["ratio_mean"],
        summary["ratio_min"],
        summary["size_ratio_mean"],
        sum(row["ratio"] for row in rest.values()) / len(rest),
        system["joint"]["unconditional"],
        None if unseen is None else unseen["summary"]["ratio_mean"],
        max(beyond_floor(system), default=None),
        min(system["recall"].values()),
    ]


def beyond_floor(system: Mapping[str, Any]) -> Iterable[float]:
    """Yield how much farther than chance each open factor is from the training conditional."""
    for row in system["one_to_rest"].values():
        for factor in row["open"].values():
            yield factor["distance"] - factor["floor"]


def baseline_row(system: Mapping[str, Any]) -> list[str]:
    """Return the headlines as they are shown."""
    return [share(value) for value in baseline_values(system)]


def baseline_table(systems: Mapping[str, Any]) -> str:
    """Return the page's table."""
    rows = [[escape(name), *baseline_row(system)] for name, system in systems.items()]
    return table(["system", *COLUMNS], rows)


def markdown_head(names: Sequence[str]) -> str:
    """Return the first two lines of a Markdown table."""
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"
