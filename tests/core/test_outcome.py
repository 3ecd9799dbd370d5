from collections import Counter

import pytest

from core.manifest import Manifest
from core.outcome import Hint, Outcome
from core.splits import report, write_splits

HINTS = {
    "too long": Hint("--longest keeps longer ones"),
    "resampled": Hint("--rate keeps theirs", changed=True),
}


def test_what_is_lost_is_told_with_its_reasons_and_ways_out_once_it_is_more_than_a_tenth():
    few = Outcome(90, {"too long": 10}, hints=HINTS)
    assert few.line("out") == "out: 90 samples of 100 inputs"
    many = Outcome(6, {"duplicate": 1, "too long": 720}, hints=HINTS)
    assert many.line("out") == (
        "out: 6 samples of 727 inputs; dropped 721: 720 too long (--longest keeps longer ones), "
        "1 duplicate (equal samples are written once)"
    )


def test_what_is_changed_is_always_told():
    line = Outcome(100, {}, {"resampled": 1}, HINTS).line("out")
    assert line.endswith("; changed: 1 resampled (--rate keeps theirs)")


def test_files_that_could_be_no_samples_are_no_loss():
    outcome = Outcome(2, {"other kind of file": 50}, hints=HINTS)
    assert outcome.line("out") == "out: 2 samples of 2 inputs"
    outcome.check("out")


@pytest.mark.parametrize(
    ("dropped", "changed", "fits"),
    [
        ({"too long": 10}, {}, True),
        ({"too long": 11}, {}, False),
        ({"too long": 6, "odd": 6}, {}, False),  # in sum
        ({}, {"resampled": 9}, True),
        ({}, {"resampled": 10}, False),
    ],
)
def test_strict_allows_a_tenth(dropped, changed, fits):
    outcome = Outcome(90, dropped, changed, HINTS)
    if fits:
        outcome.check("out")
        return
    with pytest.raises(ValueError, match=r"out is not written, as --strict .*; change that, or"):
        outcome.check("out")


def build(out, strict):
    dropped = Counter()

    def samples():
        for number in range(10):
            dropped["resampled"] += number < 5
            yield {"txt": f"text {number}".encode()}

    facts = {"source": "made up", "licence": "CC0-1.0", "hints": HINTS, "strict": strict}
    return write_splits(
        out, samples(), required=["txt"], dropped=dropped, val_fraction=0.2, **facts
    )


def test_changes_are_no_drops_and_stand_in_the_card(tmp_path, capsys):
    manifests = build(tmp_path / "out", strict=False)
    report(tmp_path / "out", manifests, HINTS)
    for split in ("train", "val"):
        assert Manifest.load(tmp_path / "out" / split).dropped == {}
        assert Manifest.load(tmp_path / "out" / split).card == {"changed": {"resampled": 5}}
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        f"{tmp_path / 'out'}: 10 samples of 10 inputs; changed: 5 resampled (--rate keeps theirs)"
    )


def test_strict_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="5 resampled"):
        build(tmp_path / "out", strict=True)
    assert not list(tmp_path.iterdir())
