"""The table of stars: what appears between modalities that were never paired."""

from collections.abc import Iterable, Mapping
from typing import Any

from multimodal.report_html import escape, share, table

COLUMNS = ("R@10", "R@10, all pairs", "strict over reference", "the same, all pairs")
"""Measured in a star's towers and prior, and in the run's own, which saw all pairs."""

NOTE = (
    "Towers and prior were trained on samples that show the anchor and one other modality. Each"
    " direction below lies between two modalities that no sample showed together; it is scored on"
    " the labels that every link carries, beside the run itself, which saw all pairs."
)


def emergent_rows(stars: Mapping[str, Any]) -> Iterable[list[str]]:
    """Yield anchor, direction and numbers as they are shown."""
    for anchor, directions in stars.items():
        for name, row in directions.items():
            cells = (row["R@10"], row["R@10 all pairs"], row["ratio"], row["ratio all pairs"])
            yield [anchor, name.replace("->", " → "), *map(share, cells)]


def emergent_table(stars: Mapping[str, Any]) -> str:
    """Return the page's table."""
    rows = ([escape(cell) for cell in row] for row in emergent_rows(stars))
    return table(["anchor", "never-paired direction", *COLUMNS], rows)
