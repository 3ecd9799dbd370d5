"""Speech for the world: a bank of espeak-ng utterances, each tuned to its size when it is used.

The pitch of an utterance carries the size: 250 Hz is tiny, 80 Hz is huge, evenly in octaves.
"""

import io
import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int16
from scipy import ndimage, signal

from core.errors import UserError
from multimodal.captions import utterance
from multimodal.factors import SPLITS, Factors, Split
from multimodal.voices import ACCENTS, draw_voice, levelled_voices

SpeechSource = Literal["espeak", "fsdd", "none"]

RATE = 8000
"""Samples a second of the world's speech."""
SAMPLES = 10_400
"""Longest utterance: 1.3 s."""
BANK_RATE = 16_000
"""The bank is kept finer than it is used, since every use is tuned to its exact pitch."""
PASS_HZ = 3600.0
"""Speech is kept below this frequency."""
HIGHEST_HZ, LOWEST_HZ = 250.0, 80.0
"""Pitch of size 0 and of size 1."""
LEVELS = 8
"""Pitches in the bank; tuning between them shifts by at most 7 %."""
TAKES: dict[Split, int] = {"train": 4, "readers": 1, "val": 1, "test": 1}
"""Utterances of the same words at the same level, each in a voice and at a rate of its own."""
LATEST_START = RATE * 20 // 1000
"""Samples of silence before an utterance, at most: recordings are trimmed as they are read."""
QUIET = 0.03
"""Share of the loudest moment below which the ends of an utterance are trimmed."""

Waveform = Float[np.ndarray, "S"]
Other = Float[np.ndarray, "S2"]
"""A waveform of another length."""


@dataclass(frozen=True, order=True)
class Spoken:
    """One entry of the bank; the utterance is a function of it and of the seed."""

    split: Split
    """Whose voices may speak it."""
    language: str
    """Of the words."""
    digit: int | None
    """None: not mentioned."""
    colour: str | None
    """None: not mentioned."""
    level: int
    """Which of LEVELS pitches."""
    take: int
    """Which of the split's TAKES."""


def draw_spoken(
    split: Split,
    language: str,
    factors: Factors,
    mentions: Sequence[str],
    rng: np.random.Generator,
) -> Spoken:
    """Choose the entry of the bank that says the mentioned factors at the pitch of the size."""
    return Spoken(
        split=split,
        language=language,
        digit=factors.digit if "digit" in mentions else None,
        colour=factors.colour if "colour" in mentions else None,
        level=min(int(factors.size * LEVELS), LEVELS - 1),
        take=int(rng.integers(TAKES[split])),
    )


def pitch_of(size: float) -> float:
    """Return the pitch in Hz of a size in [0, 1]."""
    return HIGHEST_HZ * (LOWEST_HZ / HIGHEST_HZ) ** size


def request(spoken: Spoken, seed: int) -> dict[str, str | int]:
    """Return what to ask espeak-ng for: words, voice, pitch, intonation, rate and its own seed."""
    identity = (
        SPLITS.index(spoken.split),
        sorted(ACCENTS).index(spoken.language),
        99 if spoken.digit is None else spoken.digit,
        *(spoken.colour or "-").encode(),
    )
    rng = np.random.default_rng([seed, *identity, spoken.level, spoken.take])
    hertz = pitch_of((spoken.level + 0.5) / LEVELS)
    return {
        "text": utterance(spoken.digit, spoken.colour, spoken.language),
        "voice": draw_voice(spoken.split, spoken.language, rng),
        # Measured with the levelled voices: 130 Hz at 50, an octave every 50, intonation adds 5 Hz.
        "pitch": round(50 + 50 * np.log2((hertz - 5) / 130)),
        "range": round(50 * hertz / 134),
        "rate": int(rng.integers(150, 206)),
        "seed": int(rng.integers(1, 2**31)),
    }


def speak(spoken: Sequence[Spoken], seed: int, voices: Path) -> list[Int16[np.ndarray, "S"]]:
    """Speak entries of the bank in a process of espeak-ng; BANK_RATE, trimmed, equally loud."""
    import espeakng_loader

    asked = {
        "library": str(espeakng_loader.get_library_path()),
        "data": str(voices),
        "utterances": [request(entry, seed) for entry in spoken],
    }
    program = Path(__file__).with_name("espeak_worker.py")
    answer = subprocess.run(
        [sys.executable, "-I", str(program)],
        input=json.dumps(asked).encode(),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    stream = io.BytesIO(answer)
    rate = _read_int(stream)
    return [_finish(_read_samples(stream), rate) for _ in spoken]


def check_espeak() -> None:
    """Raise unless espeak-ng can be used here."""
    if not hasattr(os, "fork"):
        raise UserError("speech 'espeak' needs fork, which Windows lacks; use --speech none")
    try:
        import espeakng_loader  # noqa: F401
    except ImportError:
        raise UserError(
            "speech 'espeak' needs the package espeakng-loader (GPL-3), which is not installed;"
            " run: pip install espeakng-loader, or use --speech none"
        ) from None


class Bank:
    """Utterances by entry, side by side in one file, so that processes share them."""

    def __init__(self, path: Path, entries: dict[Spoken, tuple[int, int]], seed: int):
        self._path = path
        self._entries = entries
        self._seed = seed

    @classmethod
    def build(
        cls,
        entries: Iterable[Spoken],
        seed: int,
        folder: Path,
        imap: Callable[..., Iterator] = map,
    ) -> "Bank":
        """Speak every entry once, `imap` sharing the work, and keep the samples in `folder`."""
        ordered = sorted(set(entries), key=str)
        chunks = [ordered[start : start + 64] for start in range(0, len(ordered), 64)]
        with levelled_voices() as voices:
            said = [wave for chunk in imap(_Speaker(seed, voices), chunks) for wave in chunk]
        ends = np.cumsum([len(wave) for wave in said]).tolist()
        np.save(folder / "bank.npy", np.concatenate(said))
        spans = zip([0, *ends], ends, strict=False)
        return cls(folder / "bank.npy", dict(zip(ordered, spans, strict=True)), seed)

    def __len__(self) -> int:
        return len(self._entries)

    @cached_property
    def _samples(self) -> Int16[np.ndarray, "S"]:
        return np.load(self._path, mmap_mode="r")

    def voice(self, spoken: Spoken) -> str:
        """Return the name of the voice that speaks an entry."""
        return str(request(spoken, self._seed)["voice"])

    def utter(self, spoken: Spoken, size: float, rng: np.random.Generator) -> Waveform:
        """Return an entry tuned to the pitch of `size`, at RATE, with a start, gain and noise."""
        start, stop = self._entries[spoken]
        wave = self._samples[start:stop].astype(np.float32) / 32768
        centre = (spoken.level + 0.5) / LEVELS
        return vary(_tune(wave, pitch_of(size) / pitch_of(centre)), rng)


@dataclass(frozen=True)
class _Speaker:
    seed: int
    voices: Path

    def __call__(self, chunk: Sequence[Spoken]) -> list[Int16[np.ndarray, "S"]]:
        return speak(chunk, self.seed, self.voices)


def vary(wave: Waveform, rng: np.random.Generator) -> Other:
    """Give an utterance a random start within 20 ms, a gain within 4 dB and faint noise."""
    wave = wave[:SAMPLES]
    start = int(rng.integers(min(LATEST_START, SAMPLES - len(wave)) + 1))
    gain = 10 ** rng.uniform(-0.2, 0.2) / max(1e-3, float(np.sqrt(np.mean(wave**2))))
    gain = min(0.1 * gain, 0.98 / max(1e-3, float(np.abs(wave).max())))
    placed = np.concatenate([np.zeros(start, np.float32), gain * wave])
    return (placed + rng.normal(0, 3e-4, len(placed))).astype(np.float32).clip(-1, 1)


def trim(wave: Waveform, rate: int) -> Other:
    """Cut silence at both ends, leaving 15 ms."""
    loud = ndimage.maximum_filter1d(np.abs(wave), max(1, rate // 100))
    heard = np.flatnonzero(loud > QUIET * loud.max())
    margin = rate * 15 // 1000
    return wave[max(0, heard[0] - margin) : heard[-1] + margin] if len(heard) else wave[:0]


def encode_flac(wave: Waveform) -> bytes:
    """Return a 16-bit mono FLAC file at RATE."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _tune(wave: Waveform, ratio: float) -> Other:
    """Resample from BANK_RATE to RATE while multiplying every frequency by `ratio`."""
    step = ratio * BANK_RATE / RATE
    places = np.arange(int((len(wave) - 1) / step)) * step
    tuned = ndimage.map_coordinates(wave, places[None], order=3, mode="nearest")
    return np.asarray(tuned, np.float32)


def _finish(samples: Int16[np.ndarray, "S"], rate: int) -> Int16[np.ndarray, "S2"]:
    """Bring an utterance to BANK_RATE, trimmed, short enough for every tuning, at half scale."""
    common = math.gcd(BANK_RATE, rate)
    up, down = BANK_RATE // common, rate // common
    fine = signal.resample_poly(samples / 32768, up, down, window=_low_pass(rate * up, down))
    fine = trim(fine, BANK_RATE)[: int(SAMPLES / RATE * BANK_RATE / 1.08)]
    return np.rint(16384 * fine / np.abs(fine).max()).astype(np.int16)


@cache
def _low_pass(rate: int, down: int) -> Float[np.ndarray, "K"]:
    """Return a filter for resampling that also ends at PASS_HZ."""
    return np.asarray(signal.firwin(60 * down + 1, PASS_HZ, fs=rate))


def _read_int(stream: io.BytesIO) -> int:
    return struct.unpack("<i", stream.read(4))[0]


def _read_samples(stream: io.BytesIO) -> Int16[np.ndarray, "S"]:
    return np.frombuffer(stream.read(_read_int(stream)), "<i2")
