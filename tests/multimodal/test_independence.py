"""No reader has a hand in what it measures: not in training, not in selection, not in stopping."""

from pathlib import Path

import grimp
import pytest

from multimodal.data import PairedData

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "text", "image", "audio", "video", "multimodal")
READERS = {
    f"multimodal.{name}"
    for name in ("readers", "reader_training", "reader_nets", "reader_inputs", "second_readers",
                 "second_inputs", "learners", "pixels", "pitch", "evaluate", "agreement")
}  # fmt: skip
TRAINING = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES[1:]
    for path in (ROOT / package).glob("train*.py")
)


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph(*PACKAGES)


def test_every_training_command_is_known():
    assert {"text.train", "image.train", "audio.train", "audio.train_vocoder", "video.train",
            "multimodal.train", "multimodal.train_prior"} <= set(TRAINING)  # fmt: skip


@pytest.mark.parametrize("name", [*TRAINING, "core.train_cli", "multimodal.embed"])
def test_whatever_training_imports_there_is_no_reader_in_it(imports, name):
    """Imports within functions count, and those of whatever is imported."""
    assert imports.find_upstream_modules(name).isdisjoint(READERS)


def test_generation_asks_no_reader(imports):
    for name in ("multimodal.generate", "multimodal.unison", "multimodal.demo.page"):
        assert imports.find_upstream_modules(name).isdisjoint(READERS)


@pytest.mark.parametrize("name", ["multimodal.readers", "multimodal.second_readers"])
def test_readers_are_known_to_what_measures_alone(imports, name):
    measuring = {"readers", "reader_training", "directions", "queries", "scores", "agreement",
                 "evaluate", "elsewhere", "baselines", "emergent", "space", "compare",
                 "readme"}  # fmt: skip
    known = {module.removeprefix("multimodal.") for module in imports.find_downstream_modules(name)}
    assert known <= measuring


def test_no_configuration_names_a_reader_or_their_split():
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert "reader" not in path.read_text(encoding="utf-8"), path


def test_training_opens_the_splits_train_and_val_unless_told_otherwise():
    assert set(PairedData("anywhere").splits.values()) == {"train", "val"}


def test_the_first_and_the_second_readers_see_and_hear_through_no_common_code(imports):
    first = {"pixels", "pitch", "captions", "reader_inputs", "reader_nets", "readers", "metrics"}
    seen = imports.find_upstream_modules("multimodal.second_inputs")
    seen |= imports.find_upstream_modules("multimodal.learners")
    assert seen.isdisjoint(f"multimodal.{name}" for name in first)
