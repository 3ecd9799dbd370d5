import re

from benchmarks.cleaning import cleaning


def test_every_cleaning_has_a_rate(tmp_path, capsys):
    source = tmp_path / "a.txt"
    source.write_text("\n\n".join(f"a paragraph that is number {n}" for n in range(300)))
    cleaning(source, times=1)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| rules", "| rules and languages", "| rules and signatures (near duplicates)",
    ]  # fmt: skip
    assert all(float(rate) > 0 for row in rows for rate in re.findall(r"\d+\.\d+", row))
