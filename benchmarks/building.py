"""What building shards costs: memory and seconds by the number of small samples.

    python -m benchmarks.building

Each size is built in a fresh process from one file of short texts, all different. Memory is the
largest resident set while it builds, above that before it begins, and after a small build that
loads what any build needs. The digests, by which duplicates are told, are filled on their own too.
"""

import hashlib
import io
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from core.cli import command, plain_options
from core.digests import Digests
from core.errors import UserError
from core.files import new_file
from text.shards import shards

MB = 1e6
WARM_UP = 3000
"""Texts of the small build that loads what any build needs."""
INK, LINE, ACCENT = "#1c1b19", "#dedad0", "#1f6f6b"
COLUMNS = ("samples", "seconds", "memory, MB", "digests, MB", "memory without them, MB",
           "digests, bytes a sample")  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What building so many samples takes."""

    samples: int
    seconds: float
    memory: float
    """Bytes: the largest resident set above that at the start."""
    digests: float
    """Bytes: the same of the digests alone."""
    state: float
    """Bytes of the digests a sample, the most while they grew beyond a thousand."""

    @property
    def rest(self) -> float:
        """Bytes but for the digests."""
        return self.memory - self.digests


def building(
    sizes: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000),
    workers: int = 1,
    plot: Path = Path("docs/building.svg"),
) -> None:
    """Build text shards of each size, print a table and plot it.

    Args:
        sizes: Numbers of samples.
        workers: Processes that read and clean; their memory is their own and not counted.
        plot: SVG file to write.
    """
    if not Path("/proc/self/clear_refs").exists():
        raise UserError("memory is measured through /proc/self; run this on Linux")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    costs = []
    for size in sizes:
        costs.append(_measured(size, workers))
        print(_row(costs[-1]), flush=True)
    with new_file(plot) as partial:
        _draw(costs, partial)


def _measured(size: int, workers: int) -> Cost:
    """Measure one size, the build and the digests each in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        seconds, memory = pool.submit(_build, size, workers).result()
        state, digests = pool.submit(_fill, size).result()
    return Cost(size, seconds, memory, digests, state)


def _build(size: int, workers: int) -> tuple[float, float]:
    """Return seconds and bytes of building."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(None):
        for name, count in (("warm", WARM_UP), ("size", size)):
            source = Path(folder) / f"{name}.txt"
            with source.open("w") as stream:
                stream.writelines(f"{name} {n} of {count}\n" for n in range(count))
            begin, start = time.perf_counter(), _forget_peak()
            with redirect_stderr(io.StringIO()):
                shards(source, Path(folder) / name, workers=workers)
        return time.perf_counter() - begin, _peak() - start


def _fill(size: int) -> tuple[float, float]:
    """Return the most bytes a sample, and bytes in all, of noting so many digests."""
    digests, most, start = Digests(), 0.0, _forget_peak()
    for number in range(size):
        digests.add(hashlib.sha256(number.to_bytes(8)).digest())
        if number >= 1000 and number % 100 == 0:
            most = max(most, digests.size / number)
    return most, _peak() - start


def _forget_peak() -> float:
    """Let the peak begin anew and return it, bytes: what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    """Return the largest resident set since the peak was forgotten, bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _row(cost: Cost) -> str:
    numbers = [f"{b / MB:.1f}" for b in (cost.memory, cost.digests, cost.rest)]
    cells = [f"{cost.samples:,}", f"{cost.seconds:.1f}", *numbers, f"{cost.state:.1f}"]
    return f"| {' | '.join(cells)} |"


def _draw(costs: list[Cost], path: Path) -> None:
    """Plot memory over samples: all of it, and what is left without the digests."""
    with plt.rc_context({"font.size": 9, "text.color": INK, "svg.hashsalt": "unison"}):
        figure, axes = plt.subplots(figsize=(5.2, 3.0), layout="constrained")
        sizes = [cost.samples for cost in costs]
        lines = {
            "without the digests that tell duplicates": ([c.rest / MB for c in costs], ACCENT, "-"),
            "all": ([c.memory / MB for c in costs], INK, "-"),
            "64 bytes a sample": ([64 * size / MB for size in sizes], INK, ":"),
        }
        for label, (values, colour, style) in lines.items():
            marker = "o" if style == "-" else ""
            axes.plot(sizes, values, style, marker=marker, ms=4, color=colour, label=label)
        axes.set(xlabel="samples", ylabel="peak memory above the start, MB", xlim=0, ylim=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.grid(color=LINE, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


if __name__ == "__main__":
    command(building, plain_options(sys.argv[1:], lists=("--sizes",)))
