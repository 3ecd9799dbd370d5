"""The frequencies by which rotary positions turn, and how they are stretched to longer contexts."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from core.errors import UserError


@dataclass(frozen=True)
class LinearStretch:
    """All frequencies lower by one factor, as if positions were closer (Chen et al. 2023)."""

    factor: float = 2.0
    """Divides the frequencies."""

    def __post_init__(self):
        _check_factor(self.factor)

    def __call__(self, frequencies: Float[Tensor, "K2"]) -> Float[Tensor, "K2"]:
        """Lower the frequencies."""
        return frequencies / self.factor


@dataclass(frozen=True)
class Llama3Stretch:
    """Low frequencies lower by a factor, high ones as they are (Llama 3.1, Dubey et al. 2024)."""

    factor: float = 8.0
    """Divides the low frequencies."""
    low: float = 1.0
    """A frequency that turns round less often in the old context is low."""
    high: float = 4.0
    """One that turns round more often is high; between the two the factor fades out."""
    old_context: int = 8192
    """Tokens of the context that was trained before."""

    def __post_init__(self):
        _check_factor(self.factor)
        if not 0 < self.low < self.high:
            raise UserError(f"low {self.low} and high {self.high} must be 0 < low < high")
        if self.old_context < 1:
            raise UserError(f"old_context is {self.old_context}; it must be at least 1 token")

    def __call__(self, frequencies: Float[Tensor, "K2"]) -> Float[Tensor, "K2"]:
        """Lower the low frequencies."""
        turns = self.old_context * frequencies / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return (1 - kept) * frequencies / self.factor + kept * frequencies


Stretch = LinearStretch | Llama3Stretch


def rotary_frequencies(
    head_width: int,
    base: float,
    stretch: Stretch | None = None,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "K2"]:
    """Return the angle by which each pair of channels turns from one token to the next.

    The operations are those of other projects: at position 30,000 the last bit of a frequency is a
    thousandth of a radian.

    Source: Su et al. 2021 (RoFormer), eq. 15.
    """
    share = torch.arange(0, head_width, 2, device=device).float() / head_width
    frequencies = 1.0 / base**share
    return frequencies if stretch is None else stretch(frequencies)


def _check_factor(factor: float) -> None:
    if factor < 1:
        raise UserError(f"factor is {factor}; it must be at least 1, which changes nothing")
