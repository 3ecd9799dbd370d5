from benchmarks.building import building


def test_each_size_is_a_row_and_the_plot_is_written(tmp_path, capsys):
    building((2500,), plot=tmp_path / "plot.svg")
    *_, row = capsys.readouterr().out.splitlines()
    samples, seconds, memory, digests, rest, state = (cell.strip() for cell in row.split("|")[1:-1])
    assert samples == "2,500"
    assert float(seconds) > 0
    assert float(rest) <= float(memory) < 50
    assert float(digests) < 5
    assert 20 < float(state) <= 64
    assert (tmp_path / "plot.svg").read_text().count("64 bytes a sample") == 1
