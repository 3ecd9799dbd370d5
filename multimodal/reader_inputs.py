"""What the readers see and hear, and how their training signals are made harder."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from multimodal.pixels import look

WINDOW, HOP = 256, 100  # samples of a spectrogram's frame: 32 ms and 12.5 ms at 8 kHz
SMOOTHED = 5  # bins averaged, 156 Hz: wider than a voice's harmonics are apart
BINS = WINDOW // 4 + 1
FLOOR = 3e-4  # share of the loudest bin below which all is silence: -70 dB


def contrast(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W"]:
    """Distance of each pixel from the background, 1 at the most distant: shape without colour."""
    return look(image).contrast


def spectrogram(audio: Float[Tensor, "B S"]) -> Float[Tensor, "B K T"]:
    """Log magnitudes over linear frequency, 0 at the loudest, smoothed until harmonics vanish."""
    window = torch.hann_window(WINDOW)
    magnitude = torch.stft(audio, WINDOW, HOP, window=window, return_complex=True).abs()
    loudest = magnitude.amax((1, 2), keepdim=True).clamp(min=1e-6)
    log_B1KT = rearrange((magnitude / loudest + FLOOR).log(), "B K T -> B 1 K T")
    padding = (SMOOTHED // 2, 0)
    smooth = F.avg_pool2d(log_B1KT, (SMOOTHED, 1), (2, 1), padding, count_include_pad=False)
    return rearrange(smooth, "B 1 K T -> B K T")


def level(spectrogram: Float[Tensor, "B K T"]) -> Float[Tensor, "B K T"]:
    """Subtract from each bin its mean over the loud frames: neither loudness nor timbre is left.

    With it a reader of unseen voices learns in half the steps (cepstral mean normalisation).
    """
    loud_B1T = (spectrogram.mean(1, keepdim=True) / 2).softmax(-1)
    centred_BKT = spectrogram - (spectrogram * loud_B1T).sum(-1, keepdim=True)
    return (centred_BKT / 2).clamp(-4, 2)


def augment_contrast(
    contrast: Float[Tensor, "B H W"], generator: torch.Generator
) -> Float[Tensor, "B H W"]:
    """Turn, slant, scale, stretch and shift each picture, change its stroke weight, add noise."""
    draw = _Draw(len(contrast), generator)
    angle, slant = draw(-0.3, 0.3), draw(-0.3, 0.3)
    tall, wide = draw(0.8, 1.25), draw(0.8, 1.25)
    affine = _rows(
        (angle.cos() * wide, (slant - angle).sin() * wide, draw(-0.15, 0.15)),
        (angle.sin() * tall, angle.cos() * tall, draw(-0.15, 0.15)),
    )
    moved_BHW = _warp(contrast, affine, "zeros").clamp(0, 1)
    weighted_BHW = moved_BHW ** draw(0.6, 1.6)[:, None, None]
    noise_BHW = torch.randn(contrast.shape, generator=generator) * draw(0.0, 0.12)[:, None, None]
    return (weighted_BHW + noise_BHW).clamp(0, 1)


def augment_spectrogram(
    spectrogram: Float[Tensor, "B K T"], generator: torch.Generator
) -> Float[Tensor, "B K T"]:
    """Another vocal tract, rate, microphone and room for each clip, and parts that are masked.

    Sources: Jaitly and Hinton 2013 (frequency warp), Park et al. 2019 (masks).
    """
    bins, frames = spectrogram.shape[1:]
    draw = _Draw(len(spectrogram), generator)
    tract, rate, zero = draw(-0.2, 0.2).exp(), draw(0.75, 1.3), draw(0.0, 0.0)
    # The warp turns about 0 Hz (-1 on the grid), the stretch about the clip's start.
    affine = _rows((rate, zero, rate - 1 + draw(-0.25, 0.25)), (zero, tract, tract - 1))
    warped_BKT = _warp(spectrogram, affine, "border")
    coloured_BKT = warped_BKT + _microphone(draw, bins)[..., None]
    hiss_BKT = 0.3 * torch.randn(spectrogram.shape, generator=generator)
    room_BKT = draw(math.log(FLOOR) - 1, math.log(0.01))[:, None, None] + hiss_BKT
    noisy_BKT = torch.logaddexp(coloured_BKT, room_BKT)
    masked = _band(draw, frames, 8.0)[:, None] | _band(draw, bins, 10.0)[..., None]
    return torch.where(masked, room_BKT, noisy_BKT)


class _Draw:
    """Uniform numbers, one a sample."""

    def __init__(self, batch: int, generator: torch.Generator):
        self.batch, self.generator = batch, generator

    def __call__(self, low: float, high: float) -> Float[Tensor, "B"]:
        return low + (high - low) * torch.rand(self.batch, generator=self.generator)


def _rows(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Float[Tensor, "B 2 3"]:
    return torch.stack([torch.stack(first, 1), torch.stack(second, 1)], 1)


def _warp(
    planes: Float[Tensor, "B H W"], affine: Float[Tensor, "B 2 3"], padding: str
) -> Float[Tensor, "B H W"]:
    grid = F.affine_grid(affine, [len(planes), 1, *planes.shape[1:]], align_corners=True)
    return F.grid_sample(planes[:, None], grid, padding_mode=padding, align_corners=True)[:, 0]


def _microphone(draw: _Draw, bins: int) -> Float[Tensor, "B K"]:
    """A smooth random response: four cosines over the frequencies, in log magnitude."""
    place_K = torch.linspace(0, math.pi, bins)
    waves = [draw(-0.9, 0.9)[:, None] * torch.cos(n * place_K) for n in range(1, 5)]
    return torch.stack(waves).sum(0)


def _band(draw: _Draw, length: int, longest: float) -> Tensor:
    """A random stretch of up to `longest` places: Bool[B length]."""
    start, width, place = draw(0.0, float(length)), draw(0.0, longest), torch.arange(length)
    return (place >= start[:, None]) & (place < (start + width)[:, None])
