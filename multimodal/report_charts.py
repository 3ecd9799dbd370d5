"""Training curves as inline SVG, drawn from the CSV logs of a run."""

import csv
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

Curve = Sequence[tuple[float, float]]
"""Points (step, value), steps ascending."""

WIDTH, HEIGHT = 300, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 22
POINTS = 200


def read_curves(stage: Path) -> dict[str, Curve]:
    """Losses by step from every metrics.csv below a stage's folder, continued ones joined."""
    points: dict[str, dict[float, float]] = {}
    for log in sorted(stage.rglob("metrics.csv"), key=lambda path: path.stat().st_mtime):
        with log.open() as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and "loss" in name and row.get("step"):
                        points.setdefault(name, {})[float(row["step"])] = float(value)
    return {_plain(name): sorted(curve.items()) for name, curve in sorted(points.items())}


def line_chart(curves: Mapping[str, Curve]) -> str:
    """A small chart of one or more curves over one pair of linear axes, the first named first."""
    curves = {name: _thin(curve) for name, curve in curves.items() if _finite(curve)}
    if not curves:
        return '<p class="note">No curve was logged.</p>'
    xs = [x for curve in curves.values() for x, _ in curve]
    ys = sorted(y for curve in curves.values() for _, y in curve)
    # The first losses tower over the rest: cut the axis at the 98th percentile of the points.
    low, high = ys[0], max(ys[math.ceil(0.98 * (len(ys) - 1))], ys[0] + 1e-9)
    y_ticks, x_ticks = _ticks(low, high, 4), _ticks(0.0, max(*xs, 1.0), 4)
    low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / max(*xs, 1.0)
        share = (min(y, high) - low) / (high - low)
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    lines = [_line(curve, place, index) for index, curve in enumerate(curves.values())]
    grid = [_y_tick(tick, place(0.0, tick)[1]) for tick in y_ticks]
    grid += [_x_tick(tick, place(tick, low)[0]) for tick in x_ticks]
    legend = "".join(
        f'<span class="key k{index % 6}">{escape(name)}</span>' for index, name in enumerate(curves)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(", ".join(curves))}">'
        f"{''.join(grid)}{''.join(lines)}</svg><p class='legend'>{legend}</p>"
    )


def _plain(name: str) -> str:
    return name.replace("_epoch", "").replace("_step", "").replace("/", " ").replace("_", " ")


def _finite(curve: Curve) -> list[tuple[float, float]]:
    return [(x, y) for x, y in curve if math.isfinite(y)]


def _thin(curve: Curve) -> list[tuple[float, float]]:
    """Means over at most POINTS equal stretches: short enough for a page, and less noisy."""
    points = _finite(curve)
    size = math.ceil(len(points) / POINTS) or 1
    chunks = [points[i : i + size] for i in range(0, len(points), size)]
    return [(chunk[-1][0], sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]


def _ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers within [low, high]."""
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(s * magnitude for s in (1, 2, 2.5, 5, 10) if s * magnitude >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)] or [low]


def _line(curve: Curve, place, index: int) -> str:
    points = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in curve)
    return f'<polyline class="k{index % 6}" points="{points}"/>'


def _y_tick(value: float, y: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 3:.1f}" text-anchor="end">{value:.3g}</text>'
    )


def _x_tick(value: float, x: float) -> str:
    label = f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
    return f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>'
