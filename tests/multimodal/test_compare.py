"""Runs side by side: what may be compared, and the spread."""

import json

import pytest

from multimodal.compare import compare
from multimodal.tuples import MODALITIES


@pytest.fixture
def runs(tmp_path):
    """Two runs of one world whose means differ by 0.1."""
    for name, value in (("a", 0.8), ("b", 0.9)):
        report = {
            "split": "test",
            "dataset": "0123",
            "n": 9,
            "preset": "cpu",
            "summary": {"strict_mean": value},
            "joint": {"unconditional": 0.7, "ratio": 0.8},
            "one_to_rest": {m: {"ratio": 0.9} for m in MODALITIES},
            "recall": dict.fromkeys(MODALITIES, 0.6),
        }
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    return [tmp_path / "a", tmp_path / "b"]


def change(run, **values):
    path = run / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_mean_deviation_and_each_run_stand_in_a_row(runs, capsys):
    compare(runs)
    shown = capsys.readouterr().out
    assert "| number | mean | deviation | a | b |" in shown
    assert "| strict_mean | 0.850 | 0.071 | 0.800 | 0.900 |" in shown
    assert "| recall_video | 0.600 | 0.000 | 0.600 | 0.600 |" in shown


def test_one_run_has_no_spread(runs):
    with pytest.raises(ValueError, match="two or more after --runs"):
        compare(runs[:1])


@pytest.mark.parametrize("key", ["split", "dataset", "n", "preset"])
def test_runs_of_other_data_are_not_compared(runs, key):
    change(runs[1], **{key: "other"})
    with pytest.raises(ValueError, match=f"differ in {key}"):
        compare(runs)


def test_a_report_of_an_older_version_says_how_to_measure_it_again(runs):
    path = runs[0] / "report.json"
    report = json.loads(path.read_text())
    del report["one_to_rest"]
    path.write_text(json.dumps(report))
    with pytest.raises(ValueError, match=r"again with: python -m multimodal\.evaluate"):
        compare(runs)
