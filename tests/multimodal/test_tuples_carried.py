"""A world whose sounds are recordings: what they do not tell is not asked of them."""

import pytest
import torch

from core.manifest import Manifest
from multimodal.readers import restrict
from multimodal.scores import Results, all_directions, summarise
from multimodal.tuples import CARRIED, MODALITIES, Tuples, told

N = 6


def manifest(**card):
    return Manifest(samples=1, shards=(), required=(), source="", licence="", card=card)


RECORDED = {
    "txt": ["digit", "colour", "motion", "size (word)"],
    "png": ["digit", "colour", "size (height)"],
    "flac": ["digit"],
    "video.npy": ["digit", "colour", "motion", "size (height)"],
}


def test_a_data_card_says_what_sounds_tell():
    read = told(manifest(carries=RECORDED))
    assert read["carried"] == CARRIED | {"audio": ("digit",)}
    assert read["sized"] == {"text", "image", "video"}


def test_without_a_card_everything_is_told():
    assert told(manifest()) == {}


class Fixed:
    """Reads the truth in everything."""

    def __init__(self, modality, truth):
        self.modality, self.truth = modality, truth

    def predict(self, signal):
        return {f: self.truth[f] for f in CARRIED[self.modality]}

    def size(self, signal):
        return torch.linspace(0, 1, N)

    def features(self, signal):
        return torch.zeros(N, 2)


@pytest.fixture
def real():
    truth = {"digit": torch.arange(N), "colour": torch.arange(N) % 2, "motion": torch.arange(N) % 3}
    return Tuples(
        signals=dict.fromkeys(MODALITIES, [""] * N),
        truth=truth,
        size=torch.linspace(0, 1, N),
        held_out=torch.zeros(N, dtype=torch.bool),
        instances=dict.fromkeys(MODALITIES, torch.arange(N)),
        **told(manifest(carries=RECORDED)),
    )


def test_readers_are_asked_for_what_a_world_tells(real):
    readers = restrict({m: Fixed(m, real.truth) for m in MODALITIES}, real)
    assert readers["audio"].predict(None).keys() == {"digit"}
    assert readers["text"].predict(None).keys() == {"digit", "colour", "motion"}


def test_directions_from_sounds_are_scored_on_their_digit_and_on_no_size(real):
    from multimodal.directions import read

    readers = restrict({m: Fixed(m, real.truth) for m in MODALITIES}, real)
    said = read(readers, real.signals)
    wrong = dict(said)  # the colour of everything made from a sound is another: nobody asked for it
    for m in ("text", "image", "video"):
        labels = said[m].labels | {"colour": 1 - real.truth["colour"]}
        wrong[m] = type(said[m])(labels, said[m].size, said[m].features)
    made = dict.fromkeys(MODALITIES, said) | {"audio": wrong}
    rows = all_directions(Results(real=real, n=N, read=said, made=made, joint={}))
    assert rows["audio->text"]["strict"] == 1
    assert rows["audio->text"]["factors"].keys() == {"digit"}
    assert rows["text->audio"]["size"]["ratio"] is None
    assert summarise(rows)["size_ratio_mean"] == 1
