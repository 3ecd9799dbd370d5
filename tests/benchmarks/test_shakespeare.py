"""The reference beside our recipe trains the same, compiled or not."""

import json
from functools import partial

import pytest

from benchmarks import shakespeare


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Return a text, and let the reference be tiny."""
    tiny = partial(shakespeare.Reference, width=16, depth=1, heads=2, context=8, batch=2, steps=3)
    monkeypatch.setattr(shakespeare, "Reference", tiny)
    (tmp_path / "input.txt").write_text("to be or not to be, that is the question\n" * 20)
    return tmp_path / "input.txt"


def trained(source, capsys, **options):
    shakespeare.reference(source, **options)
    return json.loads(capsys.readouterr().out)


def test_the_reference_reports_its_loss_and_its_cost(source, capsys):
    found = trained(source, capsys)
    assert 0 < found["loss"] < 5
    assert found["cpu_seconds"] > 0


@pytest.mark.slow
def test_the_compiled_reference_reaches_the_loss_of_the_eager_one(source, capsys):
    eager, compiled = trained(source, capsys), trained(source, capsys, compiled=True)
    assert compiled["loss"] == pytest.approx(eager["loss"], abs=1e-4)
