import importlib.util
import json
from itertools import combinations
from pathlib import Path

import pytest

from core.shards import ShardReader
from multimodal.factors import SPLITS, held_out
from multimodal.tuples import load_tuples
from multimodal.world import WorldConfig, members
from multimodal.world_shards import build_world

SPEECH = "none" if importlib.util.find_spec("espeakng_loader") is None else "espeak"
CONFIG = WorldConfig(speech=SPEECH, train=24, readers=12, val=8, test=8, languages=("en", "es"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("world") / "built"
    build_world(CONFIG, out, workers=2)
    return out


def facts(folder: Path) -> list[dict]:
    reader = ShardReader(folder)
    return [json.loads(reader.read(index)["json"]) for index in range(len(reader))]


def test_a_rebuild_in_other_processes_is_byte_identical(built: Path, tmp_path: Path):
    build_world(CONFIG, tmp_path / "again", workers=1)
    for path in sorted(built.rglob("*.*")):
        again = tmp_path / "again" / path.relative_to(built)
        assert path.read_bytes() == again.read_bytes(), path.name


def test_another_seed_gives_another_world(built: Path, tmp_path: Path):
    other = WorldConfig(speech="none", seed=1, train=2, readers=1, val=1, test=1)
    build_world(other, tmp_path / "other", workers=1)
    assert facts(tmp_path / "other" / "train") != facts(built / "train")[:2]


def test_every_split_has_its_samples_and_members(built: Path):
    for split in SPLITS:
        reader = ShardReader(built / split)
        assert len(reader) == CONFIG.samples(split)
        assert set(reader.read(0)) == {"__key__", *members(SPEECH, split)}


def test_train_and_val_hold_no_held_out_combination(built: Path):
    for split in ("train", "val"):
        for fact in facts(built / split):
            assert not fact["held_out"]
            assert not held_out(fact["digit"], fact["colour"], fact["motion"])


def test_no_two_splits_share_a_handwriting(built: Path):
    """Neither as pictures nor as clips, nor one as the other."""
    hands = {
        split: {fact[f"{kind}_instance"] for fact in facts(built / split)
                for kind in ("image", "video")}
        for split in SPLITS
    }  # fmt: skip
    for one, other in combinations(SPLITS, 2):
        assert hands[one]
        assert hands[one].isdisjoint(hands[other])


def test_no_two_splits_share_a_voice(built: Path):
    if SPEECH == "none":
        pytest.skip("needs the extra: pip install -e .[speech]")
    voices = {
        split: {fact[name].split("+")[1] for fact in facts(built / split)
                for name in ("voice", "query_voice")}
        for split in SPLITS
    }  # fmt: skip
    for one, other in combinations(SPLITS, 2):
        assert voices[one]
        assert voices[one].isdisjoint(voices[other])


def test_the_manifest_carries_a_data_card(built: Path):
    manifest = ShardReader(built / "test").manifest
    assert manifest.builder["world"]["seed"] == 0
    assert manifest.card["carries"]["png"][:2] == ["digit", "colour"]
    assert "CC BY 4.0" in manifest.licence


def test_a_folder_in_the_way_is_refused(built: Path):
    with pytest.raises(ValueError, match="exists already"):
        build_world(CONFIG, built)


def test_samples_that_a_world_does_not_have_are_refused_in_one_line(tiny_world):
    with pytest.raises(ValueError, match=r"train has \d+ samples but 1000000 are asked for"):
        load_tuples(tiny_world / "train", range(1_000_000))
