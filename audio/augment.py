"""Random changes of sounds that keep what is said, for training towers.

Pitch and tempo stay: pitch carries a factor of its own.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.noise import normal, uniform

STREAM = 16
"""First of the random streams used here; see `core.noise`."""


def augment(
    waves: Float[Tensor, "B S"], seeds: Int[Tensor, "B"], shift: float
) -> Float[Tensor, "B S"]:
    """Shift in time, filter, scale and add noise, each sound by its own seed.

    A sound moves by up to `shift` of its length, its ends around the corner; a first difference or
    sum of random size tilts its spectrum, as microphones do; white noise lies 15 to 55 dB below it.
    """
    length = waves.shape[1]
    u = 2 * uniform(seeds, (4,), stream=STREAM) - 1
    moved = _roll(waves, u[:, 0] * shift)
    tilted = moved + 0.5 * u[:, 1:2] * moved.roll(1, dims=1)
    level = tilted.square().mean(dim=1, keepdim=True).sqrt() * 10 ** (-(35 + 20 * u[:, 2:3]) / 20)
    # One stretch of noise for all, each sound from its own place in it: a tenth of the cost.
    noise = normal(torch.zeros_like(seeds[:1]), (length,), stream=STREAM + 1)
    return tilted + level * _roll(noise.expand_as(waves), u[:, 3])


def mask(mel: Float[Tensor, "B M F"], seeds: Int[Tensor, "B"]) -> Float[Tensor, "B M F"]:
    """Set a random stretch of time and one of frequency, a tenth at most each, to the quietest.

    Source: Park et al. 2019 (SpecAugment), section 2.
    """
    u = uniform(seeds, (4,), stream=STREAM + 2)
    bands = _stretch(u[:, 0], u[:, 1], mel.shape[1])[:, :, None]
    frames = _stretch(u[:, 2], u[:, 3], mel.shape[2])[:, None]
    return torch.where(bands | frames, mel.amin(dim=(1, 2), keepdim=True), mel)


def _roll(waves: Float[Tensor, "B S"], share: Float[Tensor, "B"]) -> Float[Tensor, "B S"]:
    """Move each waveform by a share of its length, its ends around the corner."""
    length = waves.shape[1]
    start = (share * length).long()[:, None]
    return waves.gather(1, (torch.arange(length, device=waves.device) - start) % length)


def _stretch(
    start: Float[Tensor, "B"], size: Float[Tensor, "B"], length: int
) -> Bool[Tensor, "B L"]:
    """Mark `size` of a tenth of the positions, from anywhere."""
    index = (torch.arange(length, device=start.device) + 0.5) / length
    end = start + size / 10
    return (index >= start[:, None]) & (index < end[:, None])
