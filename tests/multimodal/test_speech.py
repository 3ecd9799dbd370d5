import importlib.util
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from multimodal.factors import SPLITS, Factors
from multimodal.pitch import pitch
from multimodal.recordings import Recordings
from multimodal.speech import (
    LEVELS,
    RATE,
    SAMPLES,
    TAKES,
    Bank,
    Spoken,
    draw_spoken,
    pitch_of,
    request,
    speak,
    trim,
    vary,
)
from multimodal.voices import ACCENTS, VARIANTS, levelled_voices

espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="espeakng-loader is not installed"
)
ENTRIES = [Spoken("test", "en", 7, "red", level, 0) for level in range(LEVELS)]


def test_voices_are_disjoint_between_splits():
    for one, other in combinations(SPLITS, 2):
        assert set(VARIANTS[one]).isdisjoint(VARIANTS[other])


def test_pitch_falls_evenly_in_octaves_from_tiny_to_huge():
    hertz = np.array([pitch_of(size) for size in np.linspace(0, 1, 9)])
    np.testing.assert_allclose(np.diff(np.log2(hertz)), np.log2(80 / 250) / 8)
    assert hertz[0] == 250


def test_a_request_depends_on_the_entry_and_the_seed_alone():
    assert request(ENTRIES[0], 0) == request(ENTRIES[0], 0)
    assert request(ENTRIES[0], 0) != request(ENTRIES[0], 1)
    assert request(ENTRIES[0], 0)["voice"].split("+")[1] in VARIANTS["test"]


@espeak
def test_an_utterance_is_the_same_whatever_was_spoken_before():
    with levelled_voices() as voices:
        alone = speak([ENTRIES[3]], 0, voices)[0]
        after = speak(ENTRIES[:4], 0, voices)[3]
    np.testing.assert_array_equal(alone, after)


@espeak
def test_every_voice_and_accent_speaks_at_the_levelled_pitch(monkeypatch):
    variants = [f"en-us+{variant}" for split in SPLITS for variant in VARIANTS[split]]
    accents = [f"{accent}+m3" for language in ACCENTS for accent in ACCENTS[language]]
    names = [*variants, *accents]
    drawn = iter(names)
    monkeypatch.setattr("multimodal.speech.draw_voice", lambda *_: next(drawn))
    entries = [Spoken("train", "en", 9, None, 4, take) for take in range(len(names))]
    expected = pitch_of(4.5 / LEVELS)
    with levelled_voices() as voices:
        waves = speak(entries, 0, voices)
    for name, wave in zip(names, waves, strict=True):
        measured = pitch(torch.tensor(wave / 32768.0)[None].float(), 16_000).item()
        assert measured == pytest.approx(expected, rel=0.12), name


@espeak
def test_size_is_measured_back_from_the_pitch(tmp_path: Path):
    rng = np.random.default_rng(0)
    sizes = np.linspace(0.01, 0.99, 30)
    spoken = [
        draw_spoken(
            "train", "en", Factors(int(rng.integers(10)), "blue", "up", size), ["digit"], rng
        )
        for size in sizes
    ]
    bank = Bank.build(spoken, 0, tmp_path)
    waves = [bank.utter(entry, size, rng) for entry, size in zip(spoken, sizes, strict=True)]
    heard = [pitch(torch.from_numpy(wave)[None], RATE).item() for wave in waves]
    assert spearmanr(sizes, heard).statistic < -0.99
    assert all(len(wave) <= SAMPLES for wave in waves)


@espeak
def test_the_longest_utterances_fit_without_being_cut():
    words = (("es", 4), ("en", 7))
    entries = [
        Spoken("train", language, digit, "yellow", LEVELS - 1, take)
        for language, digit in words
        for take in range(TAKES["train"])
    ]
    with levelled_voices() as voices:
        waves = speak(entries, 0, voices)
    for wave in waves:
        assert len(wave) < SAMPLES / RATE * 16_000 / 1.08


def test_a_repeated_utterance_differs_but_stays_within_the_longest():
    wave = np.sin(np.arange(SAMPLES) / 10).astype(np.float32)
    one, other = (vary(wave, np.random.default_rng(seed)) for seed in (0, 1))
    assert len(one) <= SAMPLES
    assert not np.array_equal(one[:500], other[:500])
    assert np.abs(one).max() <= 1


def test_trimming_keeps_the_sound_and_cuts_the_silence():
    tone = np.sin(np.arange(800) / 3).astype(np.float32)
    padded = np.concatenate([np.zeros(4000, np.float32), tone, np.zeros(4000, np.float32)])
    trimmed = trim(padded, RATE)
    assert 800 <= len(trimmed) < 800 + 2 * 240
    assert np.abs(trimmed).sum() == pytest.approx(np.abs(tone).sum(), rel=1e-4)


@pytest.mark.data
@pytest.mark.skipif("UNISON_DATA" not in os.environ, reason="UNISON_DATA is not set")
def test_recorded_digits_are_split_by_speaker_and_the_fold_turns_them():
    heard = [_speakers(Recordings.find(None, fold)) for fold in range(4)]
    assert {frozenset(fold["test"]) for fold in heard} == {
        frozenset({name}) for name in ("george", "jackson", "lucas", "nicolas")
    }
    for fold in heard:
        assert fold["test"].isdisjoint(fold["readers"] | fold["train"])
        assert fold["readers"].isdisjoint(fold["train"])
        assert fold["val"] == fold["train"]
        assert len(fold["train"]) == 2


def _speakers(recordings):
    heard = {split: set() for split in SPLITS}
    for split in SPLITS:
        for draw in range(30):
            wave, speaker = recordings.utter(split, 7, np.random.default_rng(draw))
            assert 1000 < len(wave) <= SAMPLES
            heard[split].add(speaker)
    return heard


@pytest.mark.data
@pytest.mark.skipif("UNISON_DATA" not in os.environ, reason="UNISON_DATA is not set")
def test_a_fold_beyond_the_speakers_is_refused():
    with pytest.raises(ValueError, match="fold is 4 but there are 4 speakers: choose 0 to 3"):
        Recordings.find(None, 4)


def test_a_folder_without_recordings_says_how_to_get_them(tmp_path: Path):
    with pytest.raises(ValueError, match="git clone"):
        Recordings(tmp_path)
