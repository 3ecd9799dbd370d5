"""The pretraining benchmark measures each system in a process of its own."""

import importlib.util

import pytest

from benchmarks.pretraining import pretraining
from core.errors import UserError


def test_each_system_is_a_row_and_litgpt_says_where_it_is_missing(capsys):
    pretraining(width=16, depth=1, heads=2, context=8, batch=2, vocabulary=32, steps=1, repeats=2,
                compiled=False)  # fmt: skip
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0].removeprefix("| ") for row in rows] == [
        "litgpt", "ours", "ours, own layout, Muon",
    ]  # fmt: skip
    assert all(float(row[2].replace(",", "")) > 0 for row in rows[1:])
    if importlib.util.find_spec("litgpt") is None:
        assert "not installed" in rows[0][2]


def test_sizes_below_one_are_refused():
    with pytest.raises(UserError, match="steps is 0 but must be at least 1"):
        pretraining(steps=0)
