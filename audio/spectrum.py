"""Spectra whose frames tile the signal: S samples make exactly S / hop frames, and back.

`torch.stft(center=True)` makes one frame more than there are hops, centred on the very ends. Here
the signal is padded by (window - hop) / 2 on both sides, so that frame i is centred on the samples
[i hop, (i + 1) hop) that it stands for. Vocos calls this padding "same".
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Complex, Float
from torch import Tensor


def stft(
    wave: Float[Tensor, "B S"], window: Float[Tensor, "W"], hop: int
) -> Complex[Tensor, "B K F"]:
    """Return the F = S / hop spectra of a batch of waveforms, K = W / 2 + 1 bins each."""
    pad = (len(window) - hop) // 2
    return torch.stft(
        F.pad(wave, (pad, pad)), len(window), hop, window=window, center=False, return_complex=True
    )


def istft(
    spectra: Complex[Tensor, "B K F"], window: Float[Tensor, "W"], hop: int
) -> Float[Tensor, "B S"]:
    """Return the waveforms whose spectra are nearest: windowed overlap-add, normalised.

    Source: Griffin and Lim 1984, eq. 6.
    """
    frames = torch.fft.irfft(spectra, n=len(window), dim=1) * window[:, None]
    weights = (window**2)[None, :, None].expand(1, -1, spectra.shape[2])
    return overlap_add(frames, hop) / overlap_add(weights, hop)


def overlap_add(frames: Float[Tensor, "B W F"], hop: int) -> Float[Tensor, "B S"]:
    """Sum overlapping frames into S = F hop samples, cutting the padding off."""
    width, count = frames.shape[1:]
    pad = (width - hop) // 2
    shape = (1, (count - 1) * hop + width)
    added = F.fold(frames, shape, kernel_size=(1, width), stride=(1, hop))
    return rearrange(added, "B 1 1 L -> B L")[:, pad : pad + count * hop]


def griffin_lim(
    magnitude: Float[Tensor, "B K F"],
    window: Float[Tensor, "W"],
    hop: int,
    *,
    iterations: int = 32,
    momentum: float = 0.99,
) -> Float[Tensor, "B S"]:
    """Return waveforms of those magnitudes, their phases found by alternating projections.

    Phases start at zero, not at random: the same magnitudes make the same waveform.

    Source: Perraudin et al. 2013 (fast Griffin-Lim), algorithm 2; the momentum is scaled as in
    librosa and torchaudio.
    """
    weight = momentum / (1 + momentum)
    phase = torch.ones_like(magnitude, dtype=torch.complex64)
    previous = torch.zeros_like(phase)
    for _ in range(iterations):
        rebuilt = stft(istft(magnitude * phase, window, hop), window, hop)
        moved = rebuilt - weight * previous
        phase, previous = moved / moved.abs().clamp_min(1e-16), rebuilt
    return istft(magnitude * phase, window, hop)
