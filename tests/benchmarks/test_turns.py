"""Claims about measuring in turns: each contender is a process of its own, and none can hang."""

import os
import sys
import textwrap

import pytest

from benchmarks import turns
from benchmarks.turns import Contender, take_turns


def contender(name, body, **changes):
    """Return a contender whose preparation is that code."""
    code = f"from benchmarks.turns import *\nimport os\ndef prepare():\n{body}\nserve(prepare)"
    return Contender(name, (sys.executable, "-c", textwrap.dedent(code)), **changes)


def appending(path, letter):
    return contender(
        letter,
        f"    def run():\n        open({str(path)!r}, 'a').write({letter!r}); return 1.0\n"
        "    return run, {'process': os.getpid()}",
    )


def test_contenders_take_turns_each_in_a_process_of_its_own(tmp_path):
    path = tmp_path / "order"
    found = take_turns([appending(path, "a"), appending(path, "b")], 3)
    assert path.read_text() == "ababab"
    processes = {result.facts["process"] for result in found.values()}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_the_median_is_over_all_turns():
    body = "    values = iter([3.0, 1.0, 2.0])\n    return lambda: next(values), {}"
    result = take_turns([contender("x", body)], 3)["x"]
    assert (result.values, result.median, result.note) == ([3.0, 1.0, 2.0], 2.0, None)


def test_a_contender_that_is_missing_or_fails_is_noted_and_the_others_go_on():
    found = take_turns(
        [
            contender("missing", "    raise Missing('not installed')"),
            contender("broken", "    raise RuntimeError('no weights')"),
            contender("late", "    return lambda: 1 / 0, {}"),
            Contender("absent", ("/no/such/python", "-c", "pass")),
            contender("sound", "    return lambda: 5.0, {}"),
        ],
        2,
    )
    assert found["missing"].note == "not installed"
    assert found["broken"].note == "failed: RuntimeError: no weights"
    assert found["late"].note == "failed: ZeroDivisionError: division by zero"
    assert found["absent"].note == "/no/such/python: No such file or directory"
    assert [found[name].median for name in ("missing", "broken", "late", "absent")] == [None] * 4
    assert found["sound"].values == [5.0, 5.0]


def test_what_a_library_prints_does_not_disturb_the_answers():
    body = "    print('a banner')\n    return lambda: (print('progress'), 2.0)[1], {}"
    assert take_turns([contender("loud", body)], 2)["loud"].values == [2.0, 2.0]


def test_a_contender_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(turns, "START_SECONDS", 0.2)
    body = "    import threading\n    threading.Event().wait()"
    assert take_turns([contender("stuck", body)], 1)["stuck"].note == "failed: no answer in 0.2 s"


def test_every_contender_has_its_threads():
    body = "    return lambda: float(os.environ['OMP_NUM_THREADS']), {}"
    assert take_turns([contender("x", body, threads=3)], 1)["x"].median == 3.0


def test_two_contenders_of_one_name_are_a_defect():
    with pytest.raises(AssertionError, match="names must differ"):
        take_turns([contender("x", "    return float, {}")] * 2, 1)
