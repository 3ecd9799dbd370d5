"""Files of other tools: what came out and whether it is right, or the message."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from multimodal.elsewhere import find_trials, try_files
from multimodal.factors import COLOURS
from multimodal.tuples import CARRIED, MODALITIES

FIXTURES = Path(__file__).parents[1] / "fixtures"
BLANK = {
    "text": ["a red seven"],
    "image": torch.zeros(1, 3, 32, 32),
    "audio": torch.zeros(1, 10400),
    "video": torch.zeros(1, 4, 3, 32, 32),
}


class System:
    """Makes the same blank signals of everything."""

    def embed(self, signals):
        return {m: torch.zeros(1, 4) for m in signals}

    def complete(self, observed, *, seeds):
        return {m: torch.zeros(1, 4) for m in MODALITIES}

    def decode(self, modality, embeddings, *, seeds):
        return BLANK[modality]


class Reader:
    """Reads a red seven, whatever it is shown, and no motion."""

    def __init__(self, modality):
        self.said = {"digit": 7, "colour": COLOURS.index("red"), "motion": -1}
        self.factors = CARRIED[modality]

    def predict(self, signal):
        return {f: torch.tensor([self.said[f]]) for f in self.factors}

    def features(self, signal):
        raise AssertionError("only labels are asked of files from elsewhere")

    size = features


READERS = {m: Reader(m) for m in MODALITIES}


def test_an_output_is_right_if_it_shows_all_that_the_file_shows_and_its_kind_carries():
    trials, signals = try_files(System(), READERS, FIXTURES, seed=0)
    by_name = {trial.name: trial for trial in trials}
    assert len(trials) == 10
    red_seven = by_name["seven.wav"]
    assert red_seven.right == dict.fromkeys(MODALITIES, True)
    moving = by_name["seven.txt"]  # a red seven that moves left; the clip's motion is not read
    assert moving.right == {"text": False, "image": True, "audio": True, "video": False}
    assert moving.read["video"] == {"digit": "7", "colour": "red", "motion": "-"}
    assert not any(by_name["three.png"].right.values())
    assert signals["seven.wav/given"].shape == (1, 10400)
    json.dumps([asdict(trial) for trial in trials])


def test_a_file_that_cannot_be_read_leaves_its_message(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    [trial], signals = try_files(System(), READERS, tmp_path, seed=0)
    assert trial.read is None
    assert str(tmp_path) not in trial.message
    assert "it" in trial.message
    assert signals == {}


def test_a_folder_without_files_to_try_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no files to try"):
        find_trials(tmp_path)
