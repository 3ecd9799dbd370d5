"""Distances between waveforms, in the time-frequency plane."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from audio.spectrum import stft

WINDOWS = (64, 128, 256, 512, 1024)
"""FFT lengths in samples at 8 kHz: from 8 ms (attacks) to 128 ms (harmonics)."""


def stft_loss(
    predicted: Float[Tensor, "B S"],
    target: Float[Tensor, "B S"],
    windows: Sequence[int] = WINDOWS,
    *,
    floor: float = 0.02,
    rate: int = 8000,
) -> Float[Tensor, ""]:
    """Return spectral convergence plus log-magnitude distance, averaged over window lengths.

    Source: Yamamoto et al. 2020 (Parallel WaveGAN), eqs. 4-6.

    Args:
        predicted: Waveform in [-1, 1].
        target: Waveform in [-1, 1].
        windows: FFT lengths in samples at 8 kHz; the hop is a quarter of each.
        floor: Smallest magnitude whose logarithm counts, at a window of 512 samples; other
            windows scale it by their length.
        rate: Hz; windows last as long at any.
    """
    losses = []
    for length in (at_rate(window, rate) for window in windows):
        window = torch.hann_window(length, device=target.device)
        ours = stft(predicted, window, length // 4).abs()
        theirs = stft(target, window, length // 4).abs()
        convergence = (ours - theirs).norm() / theirs.norm().clamp_min(1e-6)
        quiet = floor * length / 512
        logarithm = (ours.clamp_min(quiet).log() - theirs.clamp_min(quiet).log()).abs().mean()
        losses.append(convergence + logarithm)
    return torch.stack(losses).mean()


def at_rate(window: int, rate: int) -> int:
    """Return the FFT length, a multiple of 8, that lasts as long as another at 8 kHz."""
    return 8 * max(1, round(window * rate / 8000 / 8))
