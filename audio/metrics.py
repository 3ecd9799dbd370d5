"""Measures of generated sound: pitch, and how far it lies from a reference recording."""

import torch
from jaxtyping import Float
from torch import Tensor

LOWEST, HIGHEST = 60.0, 500.0
"""Range of fundamental frequencies in Hz."""
VOICED = 0.6
"""Normalised autocorrelation above which a frame counts as voiced."""
LOUD = 0.02
"""Share of a sound's strongest frame energy below which a frame is a pause."""
OCTAVE_COST = 0.02
"""Preference per octave for the higher pitch, against reading double periods."""
HOP, WINDOW = 0.013, 0.064
"""Seconds from frame to frame, and seconds that one sees."""
SOFT = 800.0
"""Hz above which harmonics fade out of the measurement: sharp pulses fall between two lags."""


def pitch(
    wave: Float[Tensor, "B S"],
    *,
    rate: int = 8000,
    hop: int | None = None,
    window: int | None = None,
) -> Float[Tensor, "B F"]:
    """Return the fundamental frequency in Hz of each frame; NaN where no voice sounds.

    The highest peak of the autocorrelation over that of the taper, refined by a parabola. As many
    frames as whole hops, frame i centred on the samples [i hop, (i + 1) hop).

    Source: Boersma 1993, eqs. 8-9.

    Args:
        wave: Waveform in [-1, 1].
        rate: Samples a second.
        hop: Samples from frame to frame; None is 13 ms.
        window: Samples a frame sees; None is 64 ms, more than three periods of the lowest voice.
    """
    hop = round(HOP * rate) if hop is None else hop
    window = round(WINDOW * rate) if window is None else window
    before, after = (window - hop) // 2, -(-(window - hop) // 2)
    frames = torch.nn.functional.pad(wave, (before, after)).unfold(1, window, hop)
    frames = frames - frames.mean(-1, keepdim=True)
    energy = frames.square().sum(-1)
    taper = torch.hann_window(window, device=wave.device)
    similarity = _autocorrelation(frames * taper, rate) / _autocorrelation(taper, rate)
    lag, height = _best_lag(similarity, int(rate / HIGHEST), int(rate / LOWEST) + 1)
    voiced = (height > VOICED) & (energy > LOUD * energy.amax(1, keepdim=True))
    return torch.where(voiced, rate / lag, torch.nan)


def median_pitch(wave: Float[Tensor, "B S"], *, rate: int = 8000) -> Float[Tensor, "B"]:
    """Return the median fundamental frequency in Hz of each sound; NaN if none is voiced."""
    return pitch(wave, rate=rate).nanmedian(dim=1).values


def pitch_error(
    ours: Float[Tensor, "B S"], theirs: Float[Tensor, "B S"], *, rate: int = 8000
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean distance in semitones, and the share of voiced frames that agree.

    The distance is over frames voiced in both, and at most an octave; a frame agrees if it is
    voiced in both within half a semitone. Frames voiced in neither do not count.
    """
    f, g = pitch(ours, rate=rate), pitch(theirs, rate=rate)
    both, either = ~f.isnan() & ~g.isnan(), ~f.isnan() | ~g.isnan()
    distance = 12 * (f / g).log2().abs().clamp_max(1.0)
    return distance[both].mean(), (both & (distance < 0.5)).sum() / either.sum()


def _autocorrelation(frames: Float[Tensor, "*B W"], rate: int) -> Float[Tensor, "*B L"]:
    """Return the autocorrelation of what lies low, up to half a window; 1 at lag 0."""
    width = frames.shape[-1]
    frequencies = torch.fft.rfftfreq(2 * width, 1 / rate, device=frames.device)
    power = torch.fft.rfft(frames, n=2 * width).abs().square()
    correlation = torch.fft.irfft(power / (1 + (frequencies / SOFT) ** 4))[..., : width // 2]
    return correlation / correlation[..., :1].clamp_min(1e-9)


def _best_lag(
    similarity: Float[Tensor, "B F L"], shortest: int, longest: int
) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B F"]]:
    """Return lag and height of the peak between two lags; a height of -1 if there is none."""
    left, middle, right = (similarity[..., shortest + d : longest + d] for d in (-1, 0, 1))
    vertex = 0.5 * (left - right) / (left - 2 * middle + right).clamp_max(-1e-6)
    height = middle - 0.25 * (left - right) * vertex
    peak = (middle >= left) & (middle >= right)
    octaves = torch.arange(shortest, longest, device=similarity.device).log2()
    score = torch.where(peak, height - OCTAVE_COST * octaves, -torch.inf)
    best = score.argmax(-1, keepdim=True)
    lag = best + shortest + vertex.gather(-1, best)
    found = torch.where(peak, height, -1.0).gather(-1, best)
    return lag[..., 0], found[..., 0]
