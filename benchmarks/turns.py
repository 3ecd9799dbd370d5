"""Measure systems in turns, each in a fresh process of its own.

Systems timed in one process change each other's results: torch compiles a function only so many
times and then falls back to eager mode, and caches and thread pools serve whoever comes next. Here
every contender is a command that prepares and warms up, says that it is ready, and waits without
using the CPU while others take their turns. It needs the standard library only, so that a contender
may live in another environment.
"""

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS, TURN_SECONDS = 1800.0, 900.0
"""Limits on a contender: to prepare (which may compile), and for one turn."""


class Missing(Exception):
    """A system is not installed here; the message says how to get it."""


@dataclass(frozen=True)
class Contender:
    """A system to measure: its name, and the command of a process that calls `serve`."""

    name: str
    command: tuple[str, ...]
    threads: int = 1


@dataclass
class Result:
    """What a contender reached in its turns."""

    values: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What it reported when it was ready."""
    note: str | None = None
    """Why there are no values, or fewer than there were turns."""

    @property
    def median(self) -> float | None:
        """The median of all turns; None of a contender that was not measured."""
        return statistics.median(self.values) if self.values else None


def module(name: str, *words: str, python: str | Path = sys.executable) -> tuple[str, ...]:
    """Return the command that runs one of our modules, in any environment."""
    return (str(python), "-m", name, *words)


def take_turns(contenders: Sequence[Contender], repeats: int) -> dict[str, Result]:
    """Prepare all contenders, then measure each once per round; one that fails is left out.

    Args:
        contenders: Of different names.
        repeats: Rounds.
    """
    assert len({c.name for c in contenders}) == len(contenders), "names must differ"
    runners = {contender.name: _Runner(contender) for contender in contenders}
    try:
        for runner in runners.values():
            runner.wait_until_ready()
        for _ in range(repeats):
            for runner in runners.values():
                runner.measure()
    finally:
        for runner in runners.values():
            runner.close()
    return {name: runner.result for name, runner in runners.items()}


def serve(prepare: Callable[[], tuple[Callable[[], float], Mapping[str, Any]]]) -> None:
    """Be a contender: prepare, report that, then measure once for each line of standard input.

    Args:
        prepare: Returns what measures once, after a warm-up, and facts to report.
    """
    # Whatever a library prints goes to standard error: the pipe carries our messages only.
    with os.fdopen(os.dup(1), "w") as pipe:
        os.dup2(2, 1)
        try:
            measure, facts = prepare()
        except Missing as error:
            _send(pipe, {"missing": str(error)})
            return
        _send(pipe, {"ready": dict(facts)})
        for _ in sys.stdin:
            _send(pipe, {"value": measure()})


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


class _Runner:
    """A contender's process and its pipes."""

    def __init__(self, contender: Contender):
        self.result = Result()
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by `close`)
        count = str(contender.threads)
        threads = {name: count for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            self.process: subprocess.Popen[bytes] | None = subprocess.Popen(
                contender.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self.errors, env=os.environ | threads | {"PYTHONPATH": path},
            )  # fmt: skip
        except OSError as error:
            self.process = None
            self.result.note = f"{contender.command[0]}: {error.strerror}"

    def wait_until_ready(self) -> None:
        """Wait for the contender's first message."""
        if self.result.note is None:
            message = self._receive(START_SECONDS)
            self.result.note = message.get("missing", self.result.note)
            self.result.facts = message.get("ready", {})

    def measure(self) -> None:
        """Give it a turn, unless it has failed."""
        if self.result.note is None and self.process is not None:
            assert self.process.stdin is not None
            try:
                self.process.stdin.write(b"go\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                self._fail("it ended between two turns")
                return
            message = self._receive(TURN_SECONDS)
            if "value" in message:
                self.result.values.append(message["value"])

    def close(self) -> None:
        """End the process, which has nothing to lose."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.errors.close()

    def _receive(self, limit: float) -> dict[str, Any]:
        """Return the next message; a process that ends or takes too long has failed."""
        assert self.process is not None
        assert self.process.stdout is not None
        due = time.monotonic() + limit
        line = b""
        while not line.endswith(b"\n"):
            left = max(0.0, due - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                return self._fail(f"no answer in {limit:g} s")
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:  # it may still be writing what went wrong
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=60)
                return self._fail("it ended without an answer")
            line += piece
        return json.loads(line)

    def _fail(self, reason: str) -> dict[str, Any]:
        self.errors.seek(0)
        said = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        self.result.note = f"failed: {said[-1] if said else reason}"
        return {}


def _send(pipe: IO[str], message: Mapping[str, Any]) -> None:
    pipe.write(json.dumps(message) + "\n")
    pipe.flush()
