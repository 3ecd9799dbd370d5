"""Plots of a run's report as SVG files, for papers and slides: <run>/plots/*.svg.

Every plot has one form: a row a case, a dot for what was measured, a line for its interval, and a
tick for what it stands beside. The numbers are those of report.json.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from core.files import new_file
from multimodal.report_baselines import baseline_values

INK, SOFT, LINE, ACCENT = "#1c1b19", "#6a675f", "#dedad0", "#1f6f6b"
ROW, WIDTH = 0.24, 3.6  # inches


@dataclass(frozen=True)
class Dot:
    """One row of a panel."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    beside: float | None = None
    """What the value is to be compared with: a reference, a floor, the same of another system."""


@dataclass(frozen=True)
class Panel:
    """Rows over one axis."""

    title: str
    dots: tuple[Dot, ...]
    tick: str = ""
    """What the rows' ticks are; empty if they have none."""


def save_plots(numbers: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every plot whose numbers were measured; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for key, panels in PLOTS.items():
        if key in numbers:
            with new_file(folder / f"{key}.svg") as partial:
                _draw(tuple(panels(numbers)), partial)
            drawn.append(folder / f"{key}.svg")
    return drawn


def directions(report: Mapping[str, Any]) -> Iterable[Panel]:
    """Strict of all sixteen, beside what the readers find on real signals."""
    yield Panel("strict, 95 % interval", _strict(report["directions"]), "real signals, as read")
    size = tuple(
        Dot(_arrow(name), row["size"]["correlation"], beside=row["size"]["reference"])
        for name, row in report["directions"].items()
        if row["size"]["correlation"] is not None  # recorded voices have no pitch to go by
    )
    if size:
        yield Panel("size, rank correlation", size, "real signals, as read")


def one_to_rest(report: Mapping[str, Any]) -> Iterable[Panel]:
    """Agreement of what is made together, and how far open factors are from training's."""
    rest, joint = report["one_to_rest"], report["joint"]
    agree = [
        Dot(f"{source} → the rest", row["agree"], tuple(row["ci95"]), row["reference"])
        for source, row in rest.items()
    ]
    nothing = Dot("from nothing", joint["unconditional"], tuple(joint["ci95"]), joint["reference"])
    yield Panel("all agree, 95 % interval", (*agree, nothing), "real tuples, as read")
    opened = tuple(
        Dot(f"{source} → {factor}", values["distance"], beside=values["floor"])
        for source, row in rest.items()
        for factor, values in row["open"].items()
    )
    yield Panel("open factors: total variation", opened, "as many draws from training")


def diversity(report: Mapping[str, Any]) -> Iterable[Panel]:
    """Recall and precision of each modality, beside other real signals."""
    for name in ("recall", "precision"):
        dots = (
            Dot(modality, row[name], beside=row.get(f"{name}_real"))
            for modality, row in report["diversity"].items()
        )
        yield Panel(name, tuple(dots), "other real signals")


def composition(report: Mapping[str, Any]) -> Iterable[Panel]:
    """Combinations that training never saw, beside those it saw."""
    seen = report["directions"]
    dots = (
        Dot(_arrow(name), row["strict"], tuple(row["ci95"]), seen[name]["strict"])
        for name, row in report["composition"]["directions"].items()
    )
    yield Panel("unseen combinations: strict, 95 %", tuple(dots), "seen combinations")


def baselines(report: Mapping[str, Any]) -> Iterable[Panel]:
    """What each system reaches, a panel a headline."""
    systems = report["baselines"]["systems"]
    chosen = {"mean ratio": 0, "size": 2, "one to the rest": 3, "joint": 4, "unseen": 5}
    for title, column in chosen.items():
        values = {name: baseline_values(system)[column] for name, system in systems.items()}
        yield Panel(title, tuple(Dot(n, v) for n, v in values.items() if v is not None))


def emergent(report: Mapping[str, Any]) -> Iterable[Panel]:
    """Directions that no sample showed, beside the run that saw all pairs; a panel a star."""
    for anchor, rows in report["emergent"]["stars"].items():
        dots = (
            Dot(_arrow(name), row["ratio"], beside=row["ratio all pairs"])
            for name, row in rows.items()
        )
        title = f"star around {anchor}: strict over reference"
        yield Panel(title, tuple(dots), "all pairs shown")


PLOTS: Mapping[str, Callable[[Mapping[str, Any]], Iterable[Panel]]] = {
    "directions": directions,
    "one_to_rest": one_to_rest,
    "diversity": diversity,
    "composition": composition,
    "baselines": baselines,
    "emergent": emergent,
}
"""Name of the numbers in the report, and of the file -> its panels."""


def _strict(rows: Mapping[str, Any]) -> tuple[Dot, ...]:
    return tuple(
        Dot(_arrow(name), row["strict"], tuple(row["ci95"]), row["reference"])
        for name, row in rows.items()
    )


def _arrow(name: str) -> str:
    return name.replace("->", " → ")


def _draw(panels: tuple[Panel, ...], path: Path) -> None:
    rows = max(len(panel.dots) for panel in panels)
    with plt.rc_context({"font.size": 9, "text.color": INK, "svg.hashsalt": "unison"}):
        size = (WIDTH * len(panels), ROW * rows + 0.9)
        figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)
        for axis, panel in zip(axes[0], panels, strict=True):
            _panel(axis, panel)
        figure.tight_layout(pad=0.6)
        # Neither date nor version: the same numbers give the same bytes.
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _panel(axis: Axes, panel: Panel) -> None:
    for place, dot in enumerate(panel.dots):
        if dot.interval is not None:
            axis.plot(dot.interval, (place, place), color=ACCENT, linewidth=1.4)
        axis.plot(dot.value, place, "o", color=ACCENT, markersize=4.5)
        if dot.beside is not None:
            axis.plot(dot.beside, place, "|", color=INK, markersize=10, markeredgewidth=1.4)
    axis.set_yticks(range(len(panel.dots)), [dot.label for dot in panel.dots], color=SOFT)
    axis.set_ylim(len(panel.dots) - 0.4, -0.6)
    axis.set_title(panel.title, fontsize=9, loc="left", color=INK)
    axis.set_xlabel(f"|  {panel.tick}" if panel.tick else "", color=SOFT, fontsize=8)
    axis.grid(axis="x", color=LINE, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, labelcolor=SOFT)
    for spine in axis.spines.values():
        spine.set_visible(False)
