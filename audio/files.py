"""The user's sounds: WAV, FLAC, OGG, MP3, M4A and more of any rate and channels in, WAV out."""

import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from audio.decoding import mono, opened_sound
from core.errors import UserError
from core.files import existing_file, new_file

AudioFit = Literal["auto", "plain"]
"""How a recording becomes one of another length: with an eye on silence and loudness, or not."""
SECONDS = (0.02, 600.0)
"""Shortest and longest recording."""
RATES = (4_000, 768_000)
SUFFIXES = frozenset({
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff",
    ".aifc", ".caf", ".m4a", ".m4b", ".aac", ".mka", ".weba",
})  # fmt: skip
"""Of files that a builder takes for sounds; what is read is told by content."""
KERNEL = 2**21
"""Most values of a resampling filter; of odd rates it would have billions."""
SILENCE = 1e-3
"""Peak below which a recording holds nothing: -60 dB of full scale."""
QUIET = 0.03
"""Share of the loudest 10 ms below which the ends are cut off: -30 dB."""
LEAD = 0.05
"""Seconds kept before and after the sound."""
OFFSET = 0.01
"""Mean of the samples, over full scale, from which on it is a fault that `auto` takes away."""
STRETCH = 60.0
"""Least seconds of a long recording that are decoded at a time."""
LOUDNESS, PEAK = 0.1, 0.98
"""Root mean square that a recording is brought to, as far as its loudest sample allows."""


class SilentError(UserError):
    """A recording in which there is nothing to hear."""


@dataclass(frozen=True)
class Recording:
    """A recording as it was found, of one channel."""

    wave: Float[Tensor, "S"]
    """Beyond [-1, 1] where it is beyond full scale."""
    rate: int
    """Samples per second."""
    cancelled: bool = False
    """Its channels cancelled each other, so that their mean was not taken."""
    whole: bool = True
    """There is no more of it."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.wave) / self.rate


def read_audio(
    path: str | Path, rate: int = 8_000, samples: int = 10_400, fit: AudioFit = "auto"
) -> Float[Tensor, "S"]:
    """Read a recording as a mono waveform of `samples` samples at `rate` Hz, in [-1, 1].

    Channels are averaged, unless they cancel. `auto` cuts off the silence at both ends and evens
    the loudness; `plain` does neither. What is beyond full scale is made quieter as a whole. What
    is too long is cut with a warning, what is too short padded with silence.
    """
    path = existing_file(path)
    wave = at_rate(path, read_recording(path), rate, fit)
    if len(wave) > samples:
        warnings.warn(
            f"{path} holds {len(wave) / rate:.1f} s of sound; only the first {samples / rate:.1f} s"
            " are heard",
            stacklevel=2,
        )
    return padded(wave, samples)


def read_recording(path: Path, longest: float | None = None) -> Recording:
    """Read a whole recording, or its first `longest` seconds.

    Raises:
        UserError: if it is longer than `SECONDS` without that.
    """
    limit = SECONDS[1] if longest is None else longest
    with opened_sound(path) as sound:
        _check_header(path, sound.rate, 0.0 if longest else sound.length / sound.rate)
        parts, count = [], 0
        for part in sound.read(round(STRETCH * sound.rate)):
            parts.append(part)
            count += len(part)
            if count > limit * sound.rate:
                break
    if longest is None:
        _check_header(path, sound.rate, count / sound.rate)
    data = np.concatenate(parts)[: round(limit * sound.rate)] if parts else np.zeros((0, 1), "f4")
    return _recording(data, sound.rate, whole=count <= limit * sound.rate)


def read_stretches(path: Path, seconds: float) -> Iterator[Recording]:
    """Read a recording of any length as stretches of a whole number of `seconds` each."""
    with opened_sound(path) as sound:
        _check_header(path, sound.rate, 0.0)
        least = round(math.ceil(STRETCH / seconds) * seconds * sound.rate)
        rest = np.zeros((0, sound.channels), np.float32)
        for part in sound.read(least):
            rest = np.concatenate([rest, part])
            while len(rest) >= least:
                yield _recording(rest[:least], sound.rate)
                rest = rest[least:]
        if len(rest):
            yield _recording(rest, sound.rate)


def at_rate(path: Path, found: Recording, rate: int, fit: AudioFit) -> Float[Tensor, "S2"]:
    """Return a recording at another rate, in [-1, 1]; there must be something to hear.

    Args:
        path: For messages.
        fit: As `read_audio` takes it.
    """
    _check_sound(path, found.wave, found.rate)
    wave = _resample(found.wave, found.rate, rate)
    if fit == "auto":
        wave = wave - wave.mean() if wave.mean().abs() > OFFSET else wave
        wave = trim(wave, rate)
        wave = wave * min(LOUDNESS / wave.square().mean().sqrt(), PEAK / wave.abs().max())
    return wave / wave.abs().max().clamp(min=1)


def padded(wave: Float[Tensor, "S"], samples: int) -> Float[Tensor, "S2"]:
    """Return the first `samples` samples, with silence behind what is shorter."""
    return F.pad(wave[:samples], (0, max(0, samples - len(wave))))


def weigh_audio(path: str | Path) -> int:
    """Return how many samples, of all channels, a recording's header announces."""
    with opened_sound(existing_file(path)) as sound:
        return sound.length * sound.channels


def write_audio(path: str | Path, wave: Float[Tensor, "S"], rate: int = 8_000) -> None:
    """Write a waveform in [-1, 1] as 16-bit WAV."""
    import soundfile

    buffer = io.BytesIO()  # libsndfile hides a full disk; Python names it
    data = wave.detach().cpu().float().clamp(-1, 1).numpy()
    soundfile.write(buffer, data, rate, format="WAV", subtype="PCM_16")
    with new_file(path) as partial:
        partial.write_bytes(buffer.getvalue())


def trim(wave: Float[Tensor, "S"], rate: int) -> Float[Tensor, "S2"]:
    """Cut off what is quiet at both ends, but for `LEAD` seconds."""
    step = max(1, rate // 100)
    blocks = F.pad(wave, (0, -len(wave) % step)).reshape(-1, step)
    loudness = blocks.square().mean(1).sqrt()
    loud = (loudness > QUIET * loudness.max()).nonzero()
    lead = round(LEAD * rate)
    start = max(0, loud[0].item() * step - lead)
    return wave[start : (loud[-1].item() + 1) * step + lead]


def _recording(data: Float32[np.ndarray, "S C"], rate: int, *, whole: bool = True) -> Recording:
    wave, cancelled = mono(data, rate)
    return Recording(wave, rate, cancelled, whole)


def _check_header(path: Path, rate: int, seconds: float) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(
            f"{path} has {rate} samples a second but {RATES[0]} to {RATES[1]} are understood; "
            "convert it"
        )
    if seconds > SECONDS[1]:
        raise UserError(
            f"{path} lasts {seconds:.0f} s but {SECONDS[1]:.0f} s are the limit; cut it to the word"
        )


def _check_sound(path: Path, wave: Float[Tensor, "S"], rate: int) -> None:
    seconds = len(wave) / rate
    if seconds < SECONDS[0]:
        raise UserError(
            f"{path} lasts {seconds:.3f} s but at least {SECONDS[0]} s are needed; record again"
        )
    if not wave.isfinite().all():
        raise UserError(f"{path} holds values that are no numbers; export it again as 16-bit WAV")
    if (wave - wave.mean()).abs().max() < SILENCE:
        raise SilentError(
            f"{path} is silent: its peak is below {SILENCE} of full scale; record it louder"
        )


def ratio(source: int, target: int) -> Fraction:
    """Return source over target, or what is nearest to it with a filter of at most `KERNEL` values.

    The filter for rates without a common divisor has their product of values: 6 GB at 44,101 Hz.
    The usual rates come out exactly, any other is off by 1e-3 at most, a sixtieth of a semitone.
    """
    exact = Fraction(source, target)
    return exact.limit_denominator(math.isqrt(max(1, round(KERNEL / exact))))


def _resample(wave: Float[Tensor, "S"], source: int, target: int) -> Float[Tensor, "S2"]:
    from torchaudio.functional import resample

    rates = ratio(source, target)
    return resample(wave, rates.numerator, rates.denominator, lowpass_filter_width=32)
