"""What the quick start shows while it works."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Eta

from multimodal.stages import Stage


@runtime_checkable
class RunningStage(Protocol):
    """What the display reads of a stage at work."""

    stage: Stage
    folder: Path
    started: float


class Display:
    """A bar with ETA for each stage at work, and a line for each that starts or ends."""

    def __init__(self, plan: Sequence[Stage], waiting: Sequence[Stage], jobs: int):
        self.total = len(plan)
        self.number = {stage.name: i + 1 for i, stage in enumerate(plan)}
        self.console = Console(file=sys.stdout)
        self.bars: dict[str, TaskID] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[at]}"))
        self.progress = Progress(*columns, TimeElapsedColumn(), Eta(), console=self.console)
        self._announce(plan, waiting, jobs)

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def update(self, running: Sequence[RunningStage], rows: dict[str, Any]) -> None:
        """Draw how far each running stage is."""
        for job in running:
            name = job.stage.name
            if name not in self.bars:
                title = f"stage {self.number[name]} of {self.total}: {name}"
                self.bars[name] = self.progress.add_task(title, total=1.0, at="")
                if not self.console.is_terminal:
                    self.console.print(f"{title} ...", highlight=False)
            share, label = _share(job)
            self.progress.update(self.bars[name], completed=share, at=label)

    def done(self, stage: Stage, row: dict[str, Any]) -> None:
        """Say what a finished stage took."""
        if stage.name in self.bars:
            self.progress.remove_task(self.bars[stage.name])
        self.console.print(
            f"stage {self.number[stage.name]} of {self.total}: {stage.name} done in"
            f" {row['seconds']:.0f} s ({row['cpu_seconds']:.0f} CPU-seconds,"
            f" {row['peak_memory_mb']:.0f} MiB)",
            highlight=False,
        )

    def _announce(self, plan: Sequence[Stage], waiting: Sequence[Stage], jobs: int) -> None:
        skipped = self.total - len(waiting)
        minutes = makespan(plan, waiting, jobs)
        self.console.print(
            f"{self.total} stages, {skipped} of them done already; about {minutes:.0f} minutes"
            f" with {jobs} side by side on cores like those measured in LOG.md",
            highlight=False,
        )


def makespan(plan: Sequence[Stage], waiting: Sequence[Stage], jobs: int) -> float:
    """Return the minutes that the waiting stages take when each starts as soon as it can."""
    ends = {stage.name: 0.0 for stage in plan if stage not in waiting}
    lanes = [0.0] * jobs
    todo = list(waiting)
    while todo:
        lane = min(range(jobs), key=lanes.__getitem__)
        ready = [s for s in todo if all(need in ends for need in s.needs)]
        free = {s.name: max(lanes) if s.alone else lanes[lane] for s in ready}
        begin = {s.name: max([free[s.name], *(ends[n] for n in s.needs)]) for s in ready}
        stage = next((s for s in ready if s.alone), min(ready, key=lambda s: begin[s.name]))
        ends[stage.name] = end = begin[stage.name] + stage.minutes
        lanes = [end] * jobs if stage.alone else [*lanes[:lane], end, *lanes[lane + 1 :]]
        todo.remove(stage)
    return max(ends.values(), default=0.0)


def _share(job: RunningStage) -> tuple[float, str]:
    """Return how much of a stage is done: by its steps, or by its usual time."""
    file = job.folder / "progress.json"
    if file.is_file():
        state = json.loads(file.read_text())
        return state["step"] / state["total"], f"{state['step']}/{state['total']} steps"
    usual = 60 * job.stage.minutes or 1.0
    return min(0.99, (time.monotonic() - job.started) / usual), ""
