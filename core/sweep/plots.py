"""Plots of a sweep as SVG files: what mattered, how it went, and where good values lie."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from optuna.trial import FrozenTrial, TrialState

from core.files import new_file
from core.sweep.plan import BETTER, Plan
from core.sweep.space import Choices, Range

INK, SOFT, LINE, ACCENT = "#1c1b19", "#6a675f", "#dedad0", "#1f6f6b"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.color": INK,
    "svg.hashsalt": "unison",
    "svg.fonttype": "path",
}


def draw_importance(shares: Mapping[str, float], of: str, path: Path) -> None:
    """Draw how much of the objective's variance each option explains."""
    names = sorted(shares, key=lambda name: shares[name])

    def draw(axes: Sequence[Axes]) -> None:
        axes[0].barh(names, [shares[name] for name in names], height=0.55, color=ACCENT)
        for row, name in enumerate(names):
            axes[0].text(shares[name], row, f" {shares[name]:.2f}", va="center", color=SOFT)
        axes[0].set_xlim(0, 1.15 * max(shares.values()))
        axes[0].set_title(f"share of the variance of {of} (fANOVA)", fontsize=9, loc="left")

    _save(draw, 1, (6.0, 0.7 + 0.34 * len(names)), path)


def draw_history(trials: Sequence[FrozenTrial], plan: Plan, path: Path) -> None:
    """Draw each trial's figure in the order of their numbers, and the best so far."""
    whole = [t for t in trials if t.state == TrialState.COMPLETE]
    ended = [t for t in trials if t.state == TrialState.PRUNED and t.value is not None]
    better = {"minimize": np.minimum, "maximize": np.maximum}[plan.objective.direction]

    def draw(axes: Sequence[Axes]) -> None:
        values = np.array([t.value for t in whole], float)
        numbers = [t.number for t in whole]
        axes[0].plot(numbers, better.accumulate(values), color=ACCENT, drawstyle="steps-post")
        axes[0].plot(numbers, values, "o", color=ACCENT, markersize=4.5, label="complete")
        pruned = [t.number for t in ended], np.array([t.value for t in ended], float)
        axes[0].plot(
            *pruned,
            "o",
            color=SOFT,
            fillstyle="none",
            markersize=4.5,
            label="pruned: where it stopped",
        )
        axes[0].set_xlabel("trial", color=SOFT)
        axes[0].set_title(f"{plan.objective.column}, and the best so far", fontsize=9, loc="left")
        axes[0].legend(frameon=False, fontsize=8, labelcolor=SOFT)

    _save(draw, 1, (6.0, 2.8), path)


def draw_slices(trials: Sequence[FrozenTrial], plan: Plan, path: Path) -> None:
    """Draw the figure against every option, darker the later the trial."""
    whole = [t for t in trials if t.state == TrialState.COMPLETE]

    def draw(axes: Sequence[Axes]) -> None:
        for axis, (name, values) in zip(axes, plan.space.items(), strict=True):
            figures = np.array([t.value for t in whole], float)
            places = [_place(t.params[name], values) for t in whole]
            axis.scatter(places, figures, c=range(len(whole)), cmap="Greys", vmin=-len(whole) / 2,
                         edgecolors=SOFT, linewidths=0.5, s=24)  # fmt: skip
            _scale(axis, values)
            axis.set_title(name.removeprefix("model."), fontsize=8, loc="left")
        axes[0].set_ylabel(plan.objective.column, color=SOFT)

    _save(draw, len(plan.space), (2.4 * len(plan.space) + 0.4, 2.4), path)


def _place(value: Any, values: Range) -> float | int:
    """Return where on its axis a value lies; choices stand side by side."""
    return values.choices.index(value) if isinstance(values, Choices) else value


def _scale(axis: Axes, values: Range) -> None:
    """Name the choices, or the ends and the middle of a range."""
    if isinstance(values, Choices):
        axis.set_xticks(range(len(values.choices)), [str(choice) for choice in values.choices])
        axis.set_xlim(-0.5, len(values.choices) - 0.5)
        return
    middle = (values.low * values.high) ** 0.5 if values.log else (values.low + values.high) / 2
    axis.set_xscale("log" if values.log else "linear")
    ticks = (values.low, middle, values.high)
    axis.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
    axis.minorticks_off()


def best_of(trials: Sequence[FrozenTrial], plan: Plan) -> list[FrozenTrial]:
    """Return the complete trials, the best first."""
    whole = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    upside_down = BETTER[plan.objective.direction] is max
    return sorted(whole, key=lambda trial: trial.value or 0.0, reverse=upside_down)


def _save(
    draw: Callable[[Sequence[Axes]], None], panels: int, size: tuple[float, float], path: Path
) -> None:
    with plt.rc_context(STYLE), new_file(path) as partial:
        figure, axes = plt.subplots(1, panels, figsize=size, squeeze=False, sharey=panels > 1)
        draw(list(axes[0]))
        for axis in axes[0]:
            axis.grid(color=LINE, linewidth=0.7)
            axis.set_axisbelow(True)
            axis.tick_params(length=0, labelcolor=SOFT)
            for spine in axis.spines.values():
                spine.set_visible(False)
        figure.tight_layout(pad=0.6)
        # Neither date nor version: the same numbers give the same bytes.
        figure.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
