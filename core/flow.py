"""Flow matching: the path from noise to data, its velocity, and the loss.

The convention, once: x_t = (1 - t) noise + t x, so t = 0 is noise and t = 1 is data; the velocity
is v = x - noise. A diffusion's noise level is sigma = (1 - t) / t, hence ln sigma = -logit t, and
EDM's P_mean is *minus* the mean of our logit-normal times.

Source: Lipman et al. 2023, Liu et al. 2023; logit-normal times from Esser et al. 2024, section 3.1.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import UserError
from core.noise import normal

Prediction = Literal["x", "v"]
"""What the network's output is: clean data (good for wide tokens) or the velocity."""

CLAMP = 0.05
"""The smallest 1 - t used when a prediction of x is turned into a velocity."""


@dataclass(frozen=True)
class LogitNormal:
    """Times t = sigmoid(mean + std z), z ~ N(0, 1)."""

    mean: float = 0.0
    """Centre of logit t; negative means more noise."""
    std: float = 1.0
    """Spread of logit t."""

    def __post_init__(self):
        if self.std <= 0:
            raise UserError(f"std of the times is {self.std} but must be above 0")

    def times(
        self, seeds: Int[Tensor, "B"], shape: tuple[int, ...] = (), *, stream: int = 1
    ) -> Float[Tensor, "B *_"]:
        """Return times in (0, 1), one a seed or `shape` a seed."""
        return torch.sigmoid(self.mean + self.std * normal(seeds, shape, stream=stream))


def interpolate(
    noise: Float[Tensor, "B *S"], x: Float[Tensor, "B *S"], time: Float[Tensor, "B *_"]
) -> Float[Tensor, "B *S"]:
    """Return x_t on the straight path; `time` is one a sample, or broadcasts against x."""
    time = expand(time, x)
    return (1 - time) * noise + time * x


def velocity(
    output: Float[Tensor, "B *S"],
    x_t: Float[Tensor, "B *S"],
    time: Float[Tensor, "B *_"],
    prediction: Prediction,
) -> Float[Tensor, "B *S"]:
    """Return the velocity that a network's output means: v itself, or (x - x_t) / (1 - t)."""
    if prediction == "v":
        return output
    return (output - x_t) / (1 - expand(time, x_t)).clamp_min(CLAMP)


def flow_loss(
    output: Float[Tensor, "B *S"],
    noise: Float[Tensor, "B *S"],
    x: Float[Tensor, "B *S"],
    time: Float[Tensor, "B *_"],
    prediction: Prediction,
) -> Float[Tensor, "B *S"]:
    """Return the squared error of the velocity, element by element (the caller averages).

    For a prediction of x this is |output - x|^2 / (1 - t)^2 with 1 - t clamped: numerator and
    denominator share the clamp, so the loss stays zero for a perfect prediction at any t.
    """
    if prediction == "v":
        return (output - (x - noise)).square()
    return ((output - x) / (1 - expand(time, x)).clamp_min(CLAMP)).square()


def expand(time: Float[Tensor, "B *_"], x: Float[Tensor, "B *S"]) -> Float[Tensor, "B *_"]:
    """Append axes to `time` until it broadcasts against x."""
    return time.reshape(time.shape + (1,) * (x.ndim - time.ndim))
