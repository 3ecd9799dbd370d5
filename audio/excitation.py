"""What a voice is made of before the mouth shapes it: pulses at a pitch, and noise."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from core.noise import normal

MARGIN = 0.975
"""Highest harmonic of a pulse train, as a share of half the rate."""


def pulses(pitch: Float[Tensor, "B F"], hop: int, rate: int) -> Float[Tensor, "B S"]:
    """Return trains of band-limited pulses of unit power: all harmonics in cosine phase.

    The phase is the integral of the pitch, so it never jumps, whatever the hop: what a network
    that sees a few frames at a time cannot promise. The sum of K cosines is Dirichlet's kernel.

    Args:
        pitch: Fundamental frequency in Hz, one a hop, interpolated between.
        hop: Samples from value to value.
        rate: Samples a second.
    """
    pitch = F.interpolate(pitch[:, None], scale_factor=hop, mode="linear")[:, 0]
    # Half the phase, in double precision: a float loses a degree within a second.
    exact = pitch.cpu().double() if pitch.device.type == "mps" else pitch.double()
    half = torch.pi * ((exact / rate).cumsum(1) % 2).float().to(pitch.device)
    harmonics = (MARGIN * rate / 2 / pitch).floor().clamp_min(1)
    order, sine = 2 * harmonics + 1, half.sin()
    peak = sine.abs() < 1e-4
    kernel = torch.where(peak, order, (order * half).sin() / torch.where(peak, 1.0, sine))
    return (kernel - 1) / (2 * harmonics).sqrt()


def hiss(samples: int, device: torch.device) -> Float[Tensor, "1 S"]:
    """Return white noise of unit power, always the same: synthesis stays a function."""
    return normal(torch.zeros(1, dtype=torch.int64, device=device), (samples,), stream=24)
