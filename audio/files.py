"""The user's sounds: WAV, FLAC, OGG and MP3 of any rate and channel count in, WAV out."""

import io
import math
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from core.errors import UserError
from core.files import existing_file, new_file

SECONDS = (0.02, 600.0)
"""Shortest and longest recording."""
RATES = (4_000, 768_000)
FORMATS = ("WAV", "WAVEX", "FLAC", "OGG", "MP3", "MPEG")
"""As libsndfile names them; its other decoders are not for the files of strangers."""
SUFFIXES = frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
"""Of files that a builder takes for sounds; what is read is told by content."""
KERNEL = 2**21
"""Most values of a resampling filter; of odd rates it would have billions."""
SILENCE = 1e-3
"""Peak below which a recording holds nothing: -60 dB of full scale."""
QUIET = 0.03
"""Share of the loudest 10 ms below which the ends are cut off: -30 dB."""
LEAD = 0.05
"""Seconds kept before and after the sound."""
LOUDNESS, PEAK = 0.1, 0.98
"""Root mean square that a recording is brought to, as far as its loudest sample allows."""


def read_audio(
    path: str | Path,
    rate: int = 8_000,
    samples: int = 10_400,
    fit: Literal["auto", "plain"] = "auto",
) -> Float[Tensor, "S"]:
    """Read a recording as a mono waveform of `samples` samples at `rate` Hz, in [-1, 1].

    Channels are averaged. `auto` cuts off the silence at both ends and evens the loudness; `plain`
    does neither. What is too long is cut with a warning, what is too short padded with silence.
    """
    path = existing_file(path)
    wave, source_rate = _decode(path)
    wave = _resample(wave, source_rate, rate)
    if fit == "auto":
        wave = trim(wave, rate)
        wave = wave * min(LOUDNESS / wave.square().mean().sqrt(), PEAK / wave.abs().max())
    if len(wave) > samples:
        warnings.warn(
            f"{path} holds {len(wave) / rate:.1f} s of sound; only the first {samples / rate:.1f} s"
            " are heard",
            stacklevel=2,
        )
    wave = F.pad(wave[:samples], (0, max(0, samples - len(wave))))
    return wave.clamp(-1, 1)


def weigh_audio(path: str | Path) -> int:
    """Return how many samples, of all channels, a recording's header announces."""
    import soundfile

    path = existing_file(path)
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise _not_a_recording(path, error.error_string) from None
    return info.frames * info.channels


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


def _decode(path: Path) -> tuple[Float[Tensor, "S"], int]:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            if file.format not in FORMATS:
                raise _not_a_recording(path, file.format)
            _check_header(path, file.samplerate, file.frames / max(1, file.samplerate))
            data, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        raise _not_a_recording(path, error.error_string) from None
    wave = torch.from_numpy(np.ascontiguousarray(data.mean(1)))
    _check_sound(path, wave, rate)
    return wave, rate


def _not_a_recording(path: Path, told: str) -> UserError:
    return UserError(
        f"{path} is not a WAV, FLAC, OGG or MP3 recording, or is damaged ({told}); "
        "save it as WAV and try again"
    )


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
    if wave.abs().max() < SILENCE:
        raise UserError(
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
