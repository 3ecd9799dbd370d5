"""Fundamental frequency of speech by autocorrelation."""

import torch
from jaxtyping import Float
from torch import Tensor

WINDOW = 0.05  # seconds: three periods of the lowest voice
HOP = 0.01  # seconds
VOICED = 0.6  # normalised autocorrelation above which a frame counts as voiced
LOUD = 0.05  # share of the clip's strongest frame energy below which a frame is a pause
OCTAVE_COST = 0.02  # preference per octave for the higher pitch, against reading double periods


def pitch(
    audio: Float[Tensor, "B S"], rate: int, *, lowest: float = 60.0, highest: float = 500.0
) -> Float[Tensor, "B"]:
    """Median fundamental frequency of the voiced frames in Hz; NaN for a clip without any.

    Source: Boersma 1993: the autocorrelation of a windowed frame over that of the window.
    """
    frames_BTS = audio.unfold(1, round(WINDOW * rate), round(HOP * rate))
    frames_BTS = frames_BTS - frames_BTS.mean(-1, keepdim=True)
    energy_BT = frames_BTS.square().sum(-1)
    window_S = torch.hann_window(frames_BTS.shape[-1])
    shortest, longest = int(rate / highest), int(rate / lowest) + 1
    similarity_BTL = _autocorrelation(frames_BTS * window_S) / _autocorrelation(window_S)
    similarity_BTL = similarity_BTL[..., shortest : longest + 1]
    octaves_L = torch.arange(shortest, longest + 1).log2()
    best_BT = _peaks(similarity_BTL - OCTAVE_COST * octaves_L).argmax(-1)
    strength_BT = similarity_BTL.gather(-1, best_BT[..., None])[..., 0]
    lag_BT = shortest + best_BT + _refine(similarity_BTL, best_BT)
    voiced = (strength_BT > VOICED) & (energy_BT > LOUD * energy_BT.amax(1, keepdim=True))
    return torch.where(voiced, rate / lag_BT, torch.nan).nanmedian(1).values


def _autocorrelation(frames: Float[Tensor, "*B S"]) -> Float[Tensor, "*B S"]:
    length = frames.shape[-1]
    power = torch.fft.rfft(frames, n=2 * length).abs().square()
    correlation = torch.fft.irfft(power)[..., :length]
    return correlation / correlation[..., :1].clamp(min=1e-9)


def _peaks(similarity: Float[Tensor, "B T L"]) -> Float[Tensor, "B T L"]:
    """The values at local maxima over the lags, minus infinity elsewhere."""
    inner = similarity[..., 1:-1]
    higher = (inner >= similarity[..., :-2]) & (inner >= similarity[..., 2:])
    peaks = torch.full_like(similarity, -torch.inf)
    peaks[..., 1:-1] = inner.where(higher, -torch.inf)
    return peaks


def _refine(similarity: Float[Tensor, "B T L"], best: Tensor) -> Float[Tensor, "B T"]:
    """Vertex of the parabola through a peak and its neighbours, in lags from the peak."""
    middle = best.clamp(1, similarity.shape[-1] - 2)[..., None]
    left, centre, right = (similarity.gather(-1, middle + step)[..., 0] for step in (-1, 0, 1))
    curve = (left - 2 * centre + right).clamp(max=-1e-6)
    return ((left - right) / (2 * curve)).clamp(-1, 1)
