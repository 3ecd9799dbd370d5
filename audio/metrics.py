"""Measures of generated sound: pitch, and distances to a reference recording."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LOWEST, HIGHEST = 60.0, 500.0
"""Range of fundamental frequencies in Hz."""


def pitch(
    wave: Float[Tensor, "B S"],
    *,
    rate: int = 8000,
    hop: int = 104,
    window: int = 512,
    voiced: float = 0.6,
) -> Float[Tensor, "B F"]:
    """Return the fundamental frequency in Hz of each frame; NaN where no voice sounds.

    The first strong peak of the normalised autocorrelation, refined by a parabola.

    Source: Boersma 1993, eqs. 8-9 (dividing by the window's own autocorrelation).

    Args:
        wave: Waveform in [-1, 1].
        rate: Samples a second.
        hop: Samples from frame to frame.
        window: Samples a frame sees: at least two periods of the lowest voice.
        voiced: Least autocorrelation of a voiced frame.
    """
    taper = torch.hann_window(window, device=wave.device)
    frames = wave.unfold(1, window, hop)
    frames = (frames - frames.mean(-1, keepdim=True)) * taper
    correlation = _autocorrelation(frames) / _autocorrelation(taper).clamp_min(1e-3)
    loud = frames.square().mean(-1) > 1e-4 * frames.square().mean(-1).amax(1, keepdim=True)
    low, high = int(rate / HIGHEST), int(rate / LOWEST) + 1
    lag, height = _first_peak(correlation, low, high)
    found = loud & (height > voiced)
    return torch.where(found, rate / lag, torch.nan)


def _autocorrelation(frames: Float[Tensor, "*B W"]) -> Float[Tensor, "*B L"]:
    """Return the autocorrelation up to half a window, 1 at lag 0."""
    width = frames.shape[-1]
    power = torch.fft.rfft(frames, n=2 * width).abs().square()
    full = torch.fft.irfft(power)[..., : width // 2]
    return full / full[..., :1].clamp_min(1e-9)


def _first_peak(
    correlation: Float[Tensor, "B F L"], low: int, high: int
) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B F"]]:
    """Return lag and height of the earliest peak within 10 % of the highest: no octave below."""
    left, middle, right = (correlation[..., low + d : high + d] for d in (-1, 0, 1))
    peak: Bool[Tensor, "B F L"] = (middle >= left) & (middle > right)
    height = torch.where(peak, middle, -1.0)
    first = (height >= 0.9 * height.amax(-1, keepdim=True)).float().argmax(-1, keepdim=True)
    a, b, c = (x.gather(-1, first)[..., 0] for x in (left, middle, right))
    shift = 0.5 * (a - c) / (a - 2 * b + c).clamp_max(-1e-6)
    return first[..., 0] + low + shift, height.gather(-1, first)[..., 0]


def median_pitch(wave: Float[Tensor, "B S"], *, rate: int = 8000) -> Float[Tensor, "B"]:
    """Return the median fundamental frequency in Hz of each sound; NaN if none is voiced."""
    return pitch(wave, rate=rate).nanmedian(dim=1).values


def pitch_error(
    ours: Float[Tensor, "B S"], theirs: Float[Tensor, "B S"], *, rate: int = 8000
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean distance in semitones, and the share of voiced frames that agree.

    The distance is over frames voiced in both, capped at an octave; a frame agrees if it is
    voiced in both within half a semitone, or in neither.
    """
    f, g = pitch(ours, rate=rate), pitch(theirs, rate=rate)
    both, either = ~f.isnan() & ~g.isnan(), ~f.isnan() | ~g.isnan()
    distance = 12 * (f / g).log2().abs().clamp_max(1.0)
    agree = both & (distance < 0.5)
    return distance[both].mean(), agree.sum() / either.sum()
