from benchmarks.serving import serving
from tests.tiny_run import write_models


def test_every_client_is_served_and_the_figures_are_written(tmp_path, capsys):
    run, plot = write_models(tmp_path / "run"), tmp_path / "plot.svg"
    found = serving(run, repeats=2, clients=2, turns=1, turn_seconds=2.0, minutes=0.03,
                    plot=plot, out=tmp_path / "found.json")  # fmt: skip
    assert found["failures"] == []
    assert found["requests"] > 0
    assert 0 < found["latency"]["clip"]["first"] <= found["latency"]["clip"]["end"]
    assert found["memory"]["most"] > 100
    assert "resident memory" in plot.read_text() or plot.stat().st_size > 1000
    assert "Shared batches over one at a time" in capsys.readouterr().out
