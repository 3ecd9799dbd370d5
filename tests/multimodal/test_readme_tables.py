import json
from pathlib import Path

import pytest

from core.cli import command
from core.manifest import Manifest
from multimodal.readme import BEGIN, END, fill, fill_readme, results

ROOT = Path(__file__).resolve().parents[2]
MODALITIES = ("text", "image", "audio", "video")


@pytest.fixture
def run(tmp_path):
    row = {"strict": 0.9, "ci95": [0.85, 0.95], "reference": 0.96, "ratio": 0.9375}
    names = ("ratio_mean", "ratio_min", "strict_mean", "strict_min", "diagonal_mean")
    names += ("size_ratio_mean",)
    opened = {"text motion": {"distance": 0.3, "floor": 0.26}}
    report = {
        "split": "test",
        "n": 250,
        "dataset": "0123456789abcdef",
        "seed": 0,
        "preset": "cpu",
        "directions": {f"{a}->{b}": row for a in MODALITIES for b in MODALITIES},
        "summary": dict.fromkeys(names, 0.9),
        "joint": {"unconditional": 0.75, "reference": 0.9},
        "one_to_rest": {m: {"ratio": 0.8, "open": opened} for m in MODALITIES},
        "diversity": {m: {"frechet": 0.3, "frechet_real": 0.1} for m in MODALITIES},
        "composition": {"n": 50, "summary": dict.fromkeys(names, 0.7)},
        "recall": dict.fromkeys(MODALITIES, 0.6),
        "readers": {m: {"n": 9, "strict": 0.52} for m in MODALITIES},
        "seconds": {"image": 125.0, "train": 900.4, "total": 1300.0},
    }
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report))
    return folder


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    return path


def test_the_readme_shows_the_report_that_is_kept_beside_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    report = json.loads((ROOT / "docs" / "quickstart.json").read_text(encoding="utf-8"))
    assert fill(text, results(report, Path("runs/quickstart"))) == text


def test_only_what_stands_between_the_markers_changes(run, page):
    fill_readme(run, page, page.with_name("kept.json"))
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"\n{END}\nafter\n")
    assert "old" not in text


def test_filling_twice_equals_filling_once(run, page):
    fill_readme(run, page, page.with_name("kept.json"))
    once = page.read_text()
    fill_readme(run, page, page.with_name("kept.json"))
    assert page.read_text() == once


def test_all_directions_and_measured_stages_have_a_row(run, page):
    fill_readme(run, page, page.with_name("kept.json"))
    text = page.read_text()
    for source in MODALITIES:
        assert f"| {source} | {' | '.join(['0.938 (0.900)'] * 4)} |" in text
    command_line = f"`python -m multimodal.evaluate --run {run} --split test --n 250 --unseen 50`"
    assert text.count(command_line) == 18  # beside seventeen numbers and above the matrix
    assert "| image | 2 min 05 s | `python -m image.train --config configs/image/world.yaml" in text
    assert "video.train" not in text
    assert "| everything, start to report | 21 min 40 s | `make quickstart` |" in text


def test_second_readers_have_tables_when_they_were_asked(run, page):
    fill_readme(run, page, page.with_name("kept.json"))
    assert "second readers" not in page.read_text()
    report = json.loads((run / "report.json").read_text())
    rates = dict.fromkeys(("first", "second", "agree_real", "agree_made", "agree_joint"), 0.98)
    names = ("ratio_mean", "ratio_min", "diagonal_ratio_mean")
    report["summary"]["diagonal_ratio_mean"] = 0.9
    report["joint"]["ratio"] = 0.8333
    report["agreement"] = {
        "readers": {m: {"digit": rates, "strict": rates} for m in MODALITIES},
        "summary": dict.fromkeys(names, 0.7),
        "joint": {"unconditional": 0.74, "ratio": 0.85},
    }
    (run / "report.json").write_text(json.dumps(report))
    fill_readme(run, page, page.with_name("kept.json"))
    text = page.read_text()
    assert "| strict over reference, the lowest of the twelve | 0.900 | 0.700 |" in text
    assert "| joint samples from nothing that agree | 0.750 | 0.740 |" in text
    for modality in MODALITIES:
        assert f"| {modality} | digit | {' | '.join(['0.980'] * 5)} |" in text


@pytest.mark.parametrize(
    "text", ["none", f"{BEGIN} only", f"{END} {BEGIN}", f"{BEGIN}{BEGIN}{END}"]
)
def test_a_page_without_both_markers_is_refused(text):
    with pytest.raises(ValueError, match="put them back"):
        fill(text, "content")


def test_a_run_without_a_report_is_one_clear_line_and_changes_nothing(tmp_path, page, capsys):
    before = page.read_text()
    with pytest.raises(SystemExit) as stop:
        command(fill_readme, ["--run", str(tmp_path), "--readme", str(page)])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'report.json'} does not exist")
    assert page.read_text() == before


def test_headlines_beyond_the_matrix_have_a_row_with_the_command_that_gives_them(run):
    text = results(json.loads((run / "report.json").read_text()), Path("runs/quickstart"))
    command = "`python -m multimodal.evaluate --split test --n 250 --unseen 50`"
    for label, value in (
        ("unseen combinations: the lowest of the twelve", "0.700"),
        ("one to the other three, all agree, over that of real tuples, mean", "0.800"),
        ("open factors: largest total variation from training's, above its floor", "0.040"),
        ("Fréchet distance over that of other real signals, the largest of four", "3.000"),
    ):
        assert f"| {label} | {value} | {command} |" in text


def other_run(run, name, joint, **changes):
    """A run beside the fixture's whose joint score is another."""
    report = json.loads((run / "report.json").read_text()) | changes
    report["joint"] = {"unconditional": joint, "reference": 0.9}
    folder = run.with_name(name)
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_training_seeds_give_mean_and_deviation_beside_the_first(run, page):
    others = (other_run(run, "seed1", 0.85), other_run(run, "seed2", 0.95))
    fill_readme(run, page, page.with_name("kept.json"), seeds=others)
    text = page.read_text()
    assert "| number | value | mean of 3 training seeds | deviation | command |" in text
    joint = "joint samples from nothing that agree in all modalities"
    assert f"| {joint} | 0.750 | 0.850 | 0.100 |" in text
    kept = json.loads(page.with_name("kept.json").read_text())
    assert fill(text, results(kept, run)) == text


def test_seeds_of_other_data_are_refused_and_the_page_stays(run, page):
    before = page.read_text()
    other = other_run(run, "seed1", 0.85, dataset="another")
    with pytest.raises(ValueError, match="differ in dataset"):
        fill_readme(run, page, page.with_name("kept.json"), seeds=(other,))
    assert page.read_text() == before


def test_worlds_of_other_handwriting_and_voices_have_a_column_each(run, page):
    folders = []
    for fold, joint in ((0, 0.6), (1, 0.7)):
        folder = other_run(run, f"recorded{fold}", joint, dataset=str(fold))
        world = {"digits": "mnist", "speech": "fsdd", "fold": fold, "seed": 0}
        split = folder / "world" / "test"
        split.mkdir(parents=True)
        Manifest(
            samples=0, shards=(), required=(), source="x", licence="x", builder={"world": world}
        ).save(split)
        folders.append(folder)
    fill_readme(run, page, page.with_name("kept.json"), yardsticks=tuple(folders))
    text = page.read_text()
    assert '`make quickstart WORLD="--digits mnist --speech fsdd --fold 1"`' in text
    joint = "| joint samples from nothing that agree in all modalities | 0.600 | 0.700 |"
    assert joint in text
    assert "| real audio, as read: strict | 0.520 | 0.520 |" in text


def test_stars_have_a_row_for_each_never_paired_direction(run, page):
    report = json.loads((run / "report.json").read_text())
    row = {"R@10": 0.4, "ratio": 0.8, "R@10 all pairs": 0.5, "ratio all pairs": 0.95}
    report["emergent"] = {"split": "test", "n": 250, "stars": {"text": {"image->audio": row}}}
    (run / "report.json").write_text(json.dumps(report))
    fill_readme(run, page, page.with_name("kept.json"))
    text = page.read_text()
    assert "| text | image → audio | 0.400 | 0.500 | 0.800 | 0.950 |" in text
    assert "multimodal.emergent --run" in text
