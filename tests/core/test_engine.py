import math
import os
import signal
import traceback

import psutil
import pytest
import torch

from core.engine import AHEAD, CHUNK, Local, Ray, engine_named, map_in_order
from core.errors import UserError

NUMBERS = range(300, 300 + 10 * CHUNK + 3)
EXPECTED = [math.factorial(n) for n in NUMBERS]


def children() -> list[psutil.Process]:
    """The processes below this one that work in a pool."""
    return [p for p in psutil.Process().children(recursive=True) if _has_pool_above(p)]


def _has_pool_above(process: psutil.Process) -> bool:
    try:
        above = process.parent()
        return above is not None and "forkserver" in " ".join(above.cmdline())
    except psutil.NoSuchProcess:  # it ended since it was listed
        return False


def gone(processes: list[psutil.Process], seconds: float = 600) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_results_in_order(workers):
    assert list(map_in_order(Local(workers), math.factorial, NUMBERS)) == EXPECTED


@pytest.mark.parametrize("workers", [1, 2])
def test_no_source_gives_no_result(workers):
    assert list(map_in_order(Local(workers), math.factorial, [])) == []


def test_a_killed_worker_loses_nothing():
    results = map_in_order(Local(2), math.factorial, NUMBERS)
    found = [next(results) for _ in range(5)]
    children()[0].kill()
    assert found + list(results) == EXPECTED


def test_workers_that_are_killed_again_and_again_lose_nothing():
    found = []
    for result in map_in_order(Local(2), math.factorial, NUMBERS):
        if len(found) % (3 * CHUNK) == 1:
            for worker in children():
                worker.kill()
        found.append(result)
    assert found == EXPECTED


def test_a_source_that_kills_its_workers_is_named_after_the_results_before_it():
    sources = [0] * 2 * CHUNK + [int(signal.SIGKILL)] + [0] * 5 * CHUNK
    results = map_in_order(Local(2), signal.raise_signal, sources)
    assert [next(results) for _ in range(2 * CHUNK)] == [None] * 2 * CHUNK
    with pytest.raises(ValueError, match=r"^9 ended 3 workers"):
        next(results)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_at_its_place_whoever_met_it(workers):
    results = map_in_order(Local(workers), math.factorial, [*range(40), -1, 5])
    assert [next(results) for _ in range(40)] == [math.factorial(n) for n in range(40)]
    with pytest.raises(ValueError, match="not defined for negative"):
        next(results)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_missing_file_is_named_whoever_looked_for_it(workers, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        list(map_in_order(Local(workers), os.listdir, [tmp_path, tmp_path / "absent"]))
    assert error.value.filename == str(tmp_path / "absent")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_defect_keeps_its_type_and_the_traceback_of_who_met_it(workers):
    with pytest.raises(TypeError) as error:
        list(map_in_order(Local(workers), deep, ["x"]))
    shown = "".join(traceback.format_exception(error.value))
    assert "in deep" in shown
    assert not isinstance(error.value, UserError)


def deep(number: int) -> int:
    return math.factorial(number)


class Fussy(Exception):
    def __init__(self, number: int, reason: str):
        super().__init__(f"{reason} ({number})")


def fussy(number: int) -> int:
    raise Fussy(number, "no such number")


def test_an_error_that_cannot_be_copied_is_still_told_with_its_traceback():
    with pytest.raises(RuntimeError, match=r"Fussy: no such number \(3\)") as error:
        list(map_in_order(Local(2), fussy, [3]))
    assert "in fussy" in "".join(traceback.format_exception(error.value))


def unkind(source: str) -> str:
    raise UserError(f"{source} is wrong; change it")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_users_mistake_stays_the_users_whoever_met_it(workers):
    with pytest.raises(UserError, match=r"^a is wrong; change it$"):
        list(map_in_order(Local(workers), unkind, ["a"]))


def test_only_some_sources_are_drawn_ahead():
    drawn = []
    sources = (drawn.append(n) or n for n in range(10_000))
    results = map_in_order(Local(2), math.factorial, sources)
    next(results)
    assert len(drawn) <= CHUNK * (2 * AHEAD + 1)
    results.close()


def test_workers_leave_with_the_work():
    results = map_in_order(Local(2), math.factorial, NUMBERS)
    next(results)
    workers = children()
    assert workers
    results.close()
    assert gone(workers)


def threads(_: int) -> int:
    return torch.get_num_threads()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_is_worked_on_by_one_thread(workers):
    assert list(map_in_order(Local(workers), threads, range(3))) == [1, 1, 1]


def test_options_name_an_engine():
    assert engine_named("local", None, None) == Local(1)
    assert engine_named("local", 3, None) == Local(3)
    assert engine_named("ray", None, "host:6379") == Ray("host:6379", None)
    with pytest.raises(ValueError, match="add --engine ray"):
        engine_named("local", None, "host:6379")


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_no_workers_is_an_error(engine):
    with pytest.raises(ValueError, match="workers is 0"):
        engine_named(engine, 0, None)
