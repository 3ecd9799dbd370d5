"""The report is one file that needs nothing else."""

import base64
import io
import json
import re

import pytest
import soundfile
import torch
from PIL import Image

from multimodal.examples import Examples, load_examples, save_batches, save_examples
from multimodal.report import models_id, publish, write_report
from multimodal.report_charts import line_chart, read_curves
from multimodal.report_grid import save_grid
from multimodal.report_media import clip_uri, image_uri, sound_uri, spectrogram
from multimodal.report_plots import Dot, directions, emergent, one_to_rest, save_plots
from multimodal.scores import summarise
from multimodal.tuples import MODALITIES


def _signals(count, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(count, *shape, generator=generator) * 2 - 1

    return {
        "text": [f"a <small> red {i}" for i in range(count)],
        "image": draw(3, 32, 32),
        "audio": draw(10400) / 2,
        "video": draw(4, 3, 32, 32),
    }


@pytest.fixture
def examples():
    outputs = {modality: _signals(2, seed) for seed, modality in enumerate(MODALITIES)}
    return Examples(sources=_signals(2), outputs=outputs, joint=_signals(3))


@pytest.fixture
def run(tmp_path, examples):
    """A run that was evaluated, with logs and costs of one stage."""
    save_examples(tmp_path / "evaluate" / "examples", examples)
    row = {
        "n": 9, "strict": 0.9, "ci95": [0.8, 0.95], "factors": {"digit": 0.9, "colour": 1.0},
        "reference": 0.95, "ratio": 0.9474, "latency_ms": 12.0, "samples_per_s": 80.0,
        "size": {"correlation": 0.8, "reference": 0.9, "ratio": 0.89},
    }  # fmt: skip
    directions = {f"{s}->{t}": row for s in MODALITIES for t in MODALITIES}
    shares = dict.fromkeys(("digit", "colour", "motion"), 0.9)
    report = {
        "split": "test", "dataset": "0123456789abcdef", "seed": 0, "n": 9,
        "directions": directions, "summary": summarise(directions),
        "joint": {"n": 9, "unconditional": 0.8, "ci95": [0.7, 0.9], "reference": 0.95,
                  "ratio": 0.8421, "factors": shares, "total_variation": shares},
        "recall": dict.fromkeys(MODALITIES, 0.6),
        "one_to_rest": {
            m: {"n": 9, "agree": 0.8, "ci95": [0.7, 0.9], "reference": 0.9, "ratio": 0.8889,
                "open": {"text motion": {"distance": 0.2, "floor": 0.1}}}
            for m in MODALITIES
        },
        "diversity": {
            m: {"recall": 0.6, "precision": 0.9, "frechet": 1.0, "kid": 0.002,
                "recall_by_digit": [0.5, None, *[0.6] * 8]}
            for m in MODALITIES
        },
        "readers": {m: {"n": 9, "digit": 0.9, "colour": 1.0, "strict": 0.9} for m in MODALITIES},
    }  # fmt: skip
    (tmp_path / "evaluate" / "report.json").write_text(json.dumps(report))
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "metrics.csv").write_text("step,train/loss,val/loss\n0,2.0,\n9,1.0,1.5\n")
    cost = {"name": "image", "seconds": 75.0, "peak_memory_mb": 900.0, "joules": 400.0,
            "energy_source": "RAPL package", "parameters": 1234567, "disk_mb": 5.0,
            "skipped": False}  # fmt: skip
    (tmp_path / "stages.json").write_text(json.dumps([cost]))
    return tmp_path


def test_what_was_measured_besides_has_its_section(run):
    path = run / "evaluate" / "report.json"
    report = json.loads(path.read_text())
    publish(run)
    titles = (
        "Asked in part",
        "Unseen combinations",
        "From elsewhere",
        "What an embedding knows",
        "The shared space",
        "Read twice",
        "Never paired",
    )
    bare = (run / "report.html").read_text()
    assert not any(f"<h2>{title}</h2>" in bare for title in titles)
    made = {m: x[:1] for m, x in _signals(1).items()}
    read = {m: {"digit": "7", "colour": "red"} for m in MODALITIES}
    report["files"] = [
        {"name": "seven.png", "modality": "image", "labels": {"digit": "7"}, "message": "",
         "read": read, "right": dict.fromkeys(MODALITIES, True)},
        {"name": "broken.png", "modality": "image", "labels": {}, "message": "it is <no> picture",
         "read": None, "right": None},
    ]  # fmt: skip
    shown = {f"seven.png/{m}": x for m, x in made.items()} | {"seven.png/given": made["image"]}
    save_batches(run / "evaluate" / "files", shown)
    distance = {"distance": 0.2, "floor": 0.1}
    report["queries"] = {
        "a digit": {"n": 9, "determined": ["digit"], "strict": dict.fromkeys(MODALITIES, 0.9),
                    "agree": 0.8, "open": {"image": {"colour": distance}}},
    }  # fmt: skip
    report["spread"] = {"strict_mean": {"mean": 0.9, "sd": 0.01, "values": [0.9, 0.91]}}
    report["composition"] = {"n": 9, "directions": report["directions"]}
    rates = dict.fromkeys(("first", "second", "agree_real", "agree_made", "agree_joint"), 0.9)
    report["agreement"] = {
        "readers": {m: {"digit": rates, "strict": rates} for m in MODALITIES},
        "directions": report["directions"], "summary": report["summary"],
        "joint": {"unconditional": 0.8, "ci95": [0.7, 0.9], "reference": 0.9, "ratio": 0.8889},
    }  # fmt: skip
    row = {"R@10": 0.4, "ratio": 0.8, "R@10 all pairs": 0.5, "ratio all pairs": 0.95}
    star = {"split": "test", "n": 9, "stars": {"video": {"text->image": row}}}
    star["models"] = models_id(run)
    (run / "emergent.json").write_text(json.dumps(star))
    report["probes"] = {m: {"digit": 0.98, "size": 0.9} for m in MODALITIES}
    scores = dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0.9)
    report["space"] = {
        "n": 9, "retrieval": {"text->image": {"R@1": 0.5, "R@1 of labels": 0.4}},
        "zero_shot": {"image": {"digit": scores}}, "gap": {"text-image": 0.3},
        "arithmetic": {"image": {"success": 0.7, "without": 0.0}},
    }  # fmt: skip
    path.write_text(json.dumps(report))
    publish(run)
    page = (run / "report.html").read_text()
    assert all(f"<h2>{title}</h2>" in page for title in titles)
    assert "4 of 4 show what the file shows" in page
    assert "it is &lt;no&gt; picture" in page
    assert "http" not in page


def test_every_dot_of_a_plot_is_a_number_of_the_report(run):
    report = json.loads((run / "evaluate" / "report.json").read_text())
    strict, size = directions(report)
    assert [dot.value for dot in strict.dots] == [
        r["strict"] for r in report["directions"].values()
    ]
    assert strict.dots[0] == Dot("text → text", 0.9, (0.8, 0.95), beside=0.95)
    assert size.dots[0] == Dot("text → text", 0.8, beside=0.9)
    agree, opened = one_to_rest(report)
    assert [dot.label for dot in agree.dots][-1] == "from nothing"
    assert opened.dots[0] == Dot("text → text motion", 0.2, beside=0.1)


def test_plots_are_drawn_of_what_was_measured_and_twice_alike(run):
    publish(run)
    plots = {path.name: path.read_bytes() for path in (run / "plots").iterdir()}
    assert set(plots) == {"directions.svg", "one_to_rest.svg", "diversity.svg"}
    publish(run)
    assert {path.name: path.read_bytes() for path in (run / "plots").iterdir()} == plots


def test_a_direction_without_a_measured_size_has_no_dot_of_it(run):
    report = json.loads((run / "evaluate" / "report.json").read_text())
    rows = {name: dict(row) for name, row in report["directions"].items()}
    rows["text->audio"]["size"] = {"correlation": None, "reference": None, "ratio": None}
    strict, size = directions({"directions": rows})
    assert (len(strict.dots), len(size.dots)) == (16, 15)
    for row in rows.values():
        row["size"] = rows["text->audio"]["size"]
    assert len(list(directions({"directions": rows}))) == 1


def test_baselines_and_stars_have_plots(run, tmp_path):
    report = json.loads((run / "evaluate" / "report.json").read_text())
    star = {"text->image": {"ratio": 0.8, "ratio all pairs": 0.95}}
    report |= {"baselines": {"systems": {"copy": report}}, "emergent": {"stars": {"video": star}}}
    names = {path.stem for path in save_plots(report, tmp_path / "drawn")}
    assert names >= {"baselines", "emergent"}
    (panel,) = emergent(report)
    assert panel.dots == (Dot("text → image", 0.8, beside=0.95),)


def test_the_page_fetches_nothing(run):
    publish(run)
    page = (run / "report.html").read_text()
    addresses = re.findall(r"""(?:src|href|data-sound)=["']([^"']+)""", page)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "http" not in page
    assert "@import" not in page


def test_the_page_shows_matrix_samples_curves_and_costs(run):
    publish(run)
    page = (run / "report.html").read_text()
    assert page.count("<b>0.95</b>") == 16
    assert page.count('class="sound"') == 2 + 4 * 2 + 3  # given, generated, joint
    assert page.count("data:image/webp") == 2 + 4 * 2 + 3
    assert "a &lt;small&gt; red 0" in page
    assert "<polyline" in page
    assert "1,234,567" in page
    assert "RAPL package" in page


def test_publishing_keeps_what_the_run_knows_of_itself(run):
    (run / "report.json").write_text(json.dumps({"preset": "cpu", "seconds": {"train": 60.0}}))
    publish(run)
    report = json.loads((run / "report.json").read_text())
    assert (report["preset"], report["seconds"]["train"], report["n"]) == ("cpu", 60.0, 9)


def test_a_run_that_was_not_evaluated_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"report\.json does not exist"):
        write_report(tmp_path)


def test_examples_survive_a_round_trip(tmp_path, examples):
    save_examples(tmp_path / "examples", examples)
    loaded = load_examples(tmp_path / "examples")
    assert loaded.outputs.keys() == examples.outputs.keys()
    for modality in ("image", "audio", "video"):
        expected = examples.outputs["audio"][modality]
        assert torch.allclose(loaded.outputs["audio"][modality], expected, atol=1e-4)
    assert loaded.joint["text"] == examples.joint["text"]


def test_media_decode_to_what_went_in():
    signals = _signals(1)
    image = Image.open(io.BytesIO(_bytes(image_uri(signals["image"][0]))))
    assert image.size == (32, 32)
    clip = Image.open(io.BytesIO(_bytes(clip_uri(signals["video"][0], fps=4))))
    assert clip.n_frames == 4
    sound, rate = soundfile.read(io.BytesIO(_bytes(sound_uri(signals["audio"][0], 8000))))
    assert rate == 8000
    assert torch.allclose(torch.tensor(sound).float(), signals["audio"][0], atol=1e-4)


def _bytes(uri):
    return base64.b64decode(uri.partition(",")[2])


def test_a_higher_tone_stands_higher_in_the_spectrogram():
    time = torch.arange(8000) / 8000
    low, high = (spectrogram(torch.sin(6.283 * hertz * time)) for hertz in (500, 3000))
    assert high.sum((1, 2)).argmax() < low.sum((1, 2)).argmax()


def test_silence_and_flat_or_empty_curves_are_drawn():
    assert spectrogram(torch.zeros(8000)).shape[2] == 3
    assert "<polyline" in line_chart({"train loss": [(0.0, 1.0), (1.0, 1.0)]})
    assert "No curve" in line_chart({"train loss": [(0.0, float("nan"))]})


def test_curves_of_a_resumed_stage_are_joined(tmp_path):
    for version, step in (("version_0", 0), ("version_1", 10)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "metrics.csv").write_text(f"step,train/loss,lr\n{step},1.5,0.1\n")
    assert read_curves(tmp_path) == {"train loss": [(0.0, 1.5), (10.0, 1.5)]}


def test_the_grid_is_a_picture(tmp_path, examples):
    save_grid(examples, tmp_path / "docs" / "grid.png")
    with Image.open(tmp_path / "docs" / "grid.png") as picture:
        assert picture.width > 800


def test_what_an_older_report_did_not_measure_is_a_dash(run):
    path = run / "evaluate" / "report.json"
    report = json.loads(path.read_text())
    for row in report["directions"].values():
        del row["samples_per_s"]
    path.write_text(json.dumps(report))
    publish(run)
    assert "<td>12</td><td>&ndash;</td>" in (run / "report.html").read_text()
