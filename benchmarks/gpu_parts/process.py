"""One function in a fresh process: with a time limit, a log, and a failure that is recorded.

Processes come from a server that has imported the packages and touched no device, so that a start
takes a fraction of a second and yet no compiled graph, cache or memory of one reaches the next.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.files import new_file

Function = Callable[..., dict[str, Any]]
PRELOADED = "benchmarks.gpu_parts.presets"


@dataclass
class Outcome:
    """What became of a process."""

    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str | None = None
    """In one line; None where the function returned."""
    exit_code: int | None = None


def fresh(function: Function, *arguments: Any, log: Path, limit: float) -> Outcome:
    """Call a function in a fresh process and return its numbers, or how it failed.

    Args:
        function: Of a module; it returns what JSON can hold.
        *arguments: Of the function.
        log: File for what it prints.
        limit: Seconds after which the process and its children are killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    log.parent.mkdir(parents=True, exist_ok=True)
    result = log.with_suffix(".json")
    begin = time.monotonic()
    process = context.Process(target=_child, args=(function, arguments, log, result))
    process.start()
    process.join(limit)
    late = process.is_alive()
    _end(process)
    outcome = Outcome(seconds=round(time.monotonic() - begin, 2), exit_code=process.exitcode)
    if late:
        outcome.failure = f"ended after its limit of {limit:.0f} s"
    elif process.exitcode:
        outcome.failure = last_line(log) or f"exit code {process.exitcode}"
    else:
        outcome.numbers = json.loads(result.read_text())
    return outcome


def last_line(log: Path) -> str:
    """Return the last line of a log that says something; empty where none does."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else ""


def _child(function: Function, arguments: tuple[Any, ...], log: Path, result: Path) -> None:
    os.setsid()  # so that its own children can be ended with it
    # As in a command that was started by hand; a forkserver of its own would import all anew.
    multiprocessing.set_start_method("fork", force=True)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # The server's own streams may have been closed long ago.
    sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
    code = 1
    try:
        numbers = function(*arguments)
        with new_file(result) as partial:
            partial.write_text(json.dumps(numbers))
        code = 0
    except SystemExit as stop:  # a command's own message stands in the log already
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not by returning: that would wait for loaders' workers, which the caller kills.
        os._exit(code)


def _end(process: Any) -> None:
    """Kill a process group, of which nothing may be left that holds the device."""
    if process.pid is not None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of it has ended
        except PermissionError:
            process.kill()  # it has no group of its own yet
    process.join()
