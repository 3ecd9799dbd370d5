import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from core.card_facts import manifest_of, report_of, reported_figures, trained_figures
from core.manifest import Manifest
from core.model_card import Card, write_card

CARD = Card("seven", "It draws.", "Like so.", ("It is small.",), "diffusers", "png")


@pytest.fixture
def run(tmp_path: Path, tiny_world: Path) -> Path:
    """Return a run of one stage, with its log, beside its data."""
    (tmp_path / "world").symlink_to(tiny_world)
    (tmp_path / "image").mkdir()
    (tmp_path / "image/last.ckpt").write_bytes(b"weights")
    rows = "step,train/loss,val/loss\n9,0.5,\n10,,0.25\n19,0.5,\n20,,0.125\n"
    (tmp_path / "image/metrics.csv").write_text(rows)
    return tmp_path


def held(tiny_world: Path, steps: int = 30, **ours) -> dict:
    """Return what a checkpoint of the run says of itself."""
    dataset = Manifest.load(tiny_world / "train").dataset_id
    unison = {"kind": "image", "commit": "abc", "seed": 3} | ours
    return {"unison": unison, "global_step": steps, "ImageData": {"dataset_id": f"{dataset}+e"}}


def report(run: Path, **more) -> None:
    directions = {"text->image": {"strict": 0.5, "reference": 0.75}, "text->audio": {"strict": 0.1}}
    known = {"split": "test", "n": 250, "seed": 0, "directions": directions}
    (run / "report.json").write_text(json.dumps(known | more))


def test_data_counts_only_if_its_hash_is_the_checkpoints(run, tiny_world):
    found = held(tiny_world)
    manifest = manifest_of(found, run / "image/last.ckpt")
    assert manifest is not None
    assert manifest.source == "noise"
    found["ImageData"]["dataset_id"] = "0" * 64
    assert manifest_of(found, run / "image/last.ckpt") is None
    assert manifest_of({"unison": {}}, run / "image/last.ckpt") is None


def test_data_is_found_where_the_configuration_says(run, tiny_world):
    (run / "world").unlink()
    (run / "image/config.yaml").write_text(f"data: {{root: {tiny_world}, train: train}}")
    assert manifest_of(held(tiny_world), run / "image/last.ckpt") is not None


def test_figures_are_of_the_last_validation_before_the_checkpoint(run, tiny_world):
    path = run / "image/last.ckpt"
    assert [(f.name, f.value) for f in trained_figures(held(tiny_world), path)] == [
        ("val/loss", 0.125)
    ]
    (early,) = trained_figures(held(tiny_world, steps=15), path)
    assert early.value == 0.25
    assert "step 10" in early.origin


def test_a_report_tells_its_command_and_counts_unless_it_is_older(run):
    path = run / "image/last.ckpt"
    assert report_of(path) is None
    report(run)
    figures = reported_figures(report_of(path), "image")
    assert [f.value for f in figures] == [0.5, 0.75]
    assert figures[0].origin == "`python -m multimodal.evaluate --split test --n 250 --seed 0`"
    assert report_of(run / "image/best.ckpt") is None
    os.utime(run / "report.json", (0, 0))
    assert report_of(path) is None


def card(run: Path, found: dict, *, raw: bool = False) -> tuple[dict, str]:
    write_card(run, CARD, found, run / "image/last.ckpt", raw=raw, target="image")
    text = (run / "README.md").read_text()
    return yaml.safe_load(text.split("---")[1]), text


def test_a_model_of_known_data_has_our_licence_and_names_the_datas(run, tiny_world):
    report(run)
    header, text = card(run, held(tiny_world))
    assert header == {"license": "apache-2.0", "library_name": "diffusers", "tags": ["unison"]}
    assert "licences of its own (none)" in text
    assert "| val/loss | 0.125 |" in text
    assert "| 0.5 | `python -m multimodal.evaluate" in text


def test_figures_of_averaged_weights_are_not_told_of_raw_ones(run, tiny_world):
    report(run)
    assert "Not measured here." in card(run, held(tiny_world), raw=True)[1]


def test_a_model_of_others_or_of_unknown_data_states_no_licence(run, tiny_world):
    for found in (held(tiny_world, origin="gpt2"), {"unison": {"kind": "image"}}):
        header, text = card(run, found)
        assert header["license"] == "unknown"
        assert "whoever publishes this model has to add" in text


def test_limits_are_those_of_the_model_and_of_what_its_signal_carries(run, tiny_world, monkeypatch):
    told = {
        "limits": "one digit",
        "factors": {"digit": [0, 1], "motion": ["left", "right"]},
        "carries": {"png": ["digit"], "txt": ["digit", "motion"]},
    }
    whole = replace(Manifest.load(tiny_world / "train"), card=told)
    monkeypatch.setattr("core.model_card.manifest_of", lambda *_: whole)
    text = card(run, held(tiny_world))[1]
    assert "- It is small." in text
    assert "one digit" in text
    assert "digit is one of: 0, 1." in text
    assert "motion" not in text
