"""One trial of a sweep: a trainer in a process and a folder of its own, watched from outside."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from core.files import new_file
from core.sweep.space import Value, to_yaml

PATIENCE = 300.0
"""Seconds that a trainer has to save before it is killed."""
TOLD_TO_LEAVE = {128 + n for n in (signal.SIGTERM, signal.SIGUSR1)} | {-signal.SIGTERM}
"""Exit codes of a trainer that was asked to stop."""


@dataclass(frozen=True)
class Recipe:
    """What all trials of a sweep have in common: the trainer's command without what is searched."""

    trainer: str
    """What follows `python -m`."""
    configs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Overrides, with their dashes."""

    def command(self, folder: Path, values: str) -> list[str]:
        """Return what follows `python -m`, to train into a folder.

        Args:
            values: A configuration of what is searched. As options they would be fewer words, but
                one of them resets its neighbours where these are a choice of several types.
        """
        configs = [word for config in (*self.configs, values) for word in ("--config", config)]
        return [self.trainer, *configs, *self.options, "--out", str(folder)]


@contextmanager
def launch(
    recipe: Recipe, values: Mapping[str, Value], folder: Path, environment: Mapping[str, str]
) -> Iterator["Run"]:
    """Start a trial, or go on with one that was interrupted in this folder; at the end it stops.

    A folder that was begun otherwise is emptied. The trainer has a session of its own, so that
    Ctrl-C reaches the sweep alone, which asks it to save.
    """
    command = recipe.command(folder, str(folder / "values.yaml"))
    if folder.exists():
        end_orphans(folder)
    told, last = folder / "command.json", folder / "last.ckpt"
    begun = json.dumps({"command": command, "values": dict(values)}, indent=1)
    resume = last.is_file() and told.is_file() and told.read_text() == begun
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    for path, text in {told: begun, folder / "values.yaml": to_yaml(values)}.items():
        with new_file(path) as file:
            file.write_text(text)
    more = ["--resume", str(last)] if resume else []
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, *more],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    run = Run(folder, process)
    try:
        yield run
    finally:
        run.stop()


@dataclass(frozen=True)
class Run:
    """A trainer at work."""

    folder: Path
    process: subprocess.Popen

    def stop(self, patience: float = PATIENCE) -> None:
        """Ask the trainer to save and leave; kill it if it does not in time."""
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_line(self) -> str:
        """Return what the trainer said last."""
        text = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        lines = text.strip().splitlines() or ["it wrote nothing"]
        return lines[-1].removeprefix("error: ")


def end_orphans(folder: Path) -> None:
    """Stop trainers that write into a folder and whose sweep was killed."""
    orphans = [p for p in psutil.process_iter(["cmdline"]) if _writes_into(p, folder)]
    for orphan in orphans:
        with suppress(psutil.NoSuchProcess):
            orphan.terminate()
    for orphan in psutil.wait_procs(orphans, PATIENCE)[1]:
        with suppress(psutil.NoSuchProcess):
            orphan.kill()


def _writes_into(process: psutil.Process, folder: Path) -> bool:
    line = process.info["cmdline"] or []  # nothing of a process that ended or is another user's
    return any(pair == ("--out", str(folder)) for pair in pairwise(line))


def read_column(folder: Path, column: str) -> list[float]:
    """Return the values of a column of metrics.csv in the order of their steps."""
    rows = _read_metrics(folder)
    return [float(row[column]) for row in rows if row.get(column)]


def columns(folder: Path) -> list[str]:
    """Return the names of what a run measured."""
    return sorted({name for row in _read_metrics(folder) for name in row if name != "step"})


def _read_metrics(folder: Path) -> list[dict[str, str]]:
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def has_begun(folder: Path) -> bool:
    """Tell whether a run took a step, so that its options are known to be right."""
    return (folder / "progress.json").is_file()
