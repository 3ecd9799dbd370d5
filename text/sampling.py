"""Which token comes next: pure functions of logits and of one draw a text."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.errors import UserError
from core.sampling import GUIDANCE

COLDEST = 1e-4  # next to a temperature of zero, as far as a division can go there
FEW = 4096
"""Tokens of a vocabulary that is sorted as a whole; of a larger one the likeliest are tried first:
sorting 50,304 takes longer than a model of ten million parameters."""
LIKELIEST = 1024


@dataclass(frozen=True)
class TextOptions:
    """How to write a text."""

    temperature: float = 1.0
    """Divides the logits: 0 takes the likeliest token, 1 samples the model as it is."""
    top_k: int | None = None
    """Sample among this many likeliest tokens only."""
    top_p: float | None = 0.97
    """Sample among the fewest tokens that hold this much probability (Holtzman et al. 2020)."""
    min_p: float | None = None
    """Sample among tokens of at least this share of the likeliest's probability (Nguyen et al.
    2024)."""
    repetition_penalty: float = 1.0
    """Makes tokens that were read or written less likely; 1 does nothing (Keskar et al. 2019)."""
    guidance: float = GUIDANCE
    """Weight of the conditional over the unconditional logits; 1 is no guidance."""
    max_tokens: int | None = None
    """Tokens at most; by default as many as the model's context holds."""

    def __post_init__(self):
        if self.temperature < 0:
            raise UserError(f"temperature is {self.temperature} but must be 0 or more")
        if self.guidance < 0:
            raise UserError(f"guidance is {self.guidance} but must be 0 or more (1 is none)")
        if self.repetition_penalty <= 0:
            raise UserError(
                f"repetition_penalty is {self.repetition_penalty} but must be above 0 (1 is none)"
            )
        for name in ("top_k", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value} but must be at least 1, or left out")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise UserError(f"{name} is {value} but must be in (0, 1], or left out")


def penalise(
    logits: Float[Tensor, "*B V"], seen: Bool[Tensor, "*B V"], penalty: float
) -> Float[Tensor, "*B V"]:
    """Return logits in which tokens that were seen are less likely.

    Source: Keskar et al. 2019 (CTRL), section 4.1; negative logits are multiplied, as in other
    projects since, or the penalty would make them likelier.
    """
    lower = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, lower, logits)


def pick(
    logits: Float[Tensor, "B V"], draw: Float[Tensor, "B"], options: TextOptions
) -> Int[Tensor, "B"]:
    """Return the token at which the cumulated probability passes the draw.

    The likeliest come first where any are left out for being unlikely.
    """
    if options.temperature == 0:
        return logits.argmax(dim=-1)
    p, order = _kept(logits.float(), options)
    cumulated = p.cumsum(-1)
    rank = (cumulated < draw[:, None] * cumulated[:, -1:]).sum(-1, keepdim=True)
    rank = rank.clamp(max=p.shape[1] - 1)
    return (rank if order is None else order.gather(1, rank))[:, 0]


def probabilities(logits: Float[Tensor, "B V"], options: TextOptions) -> Float[Tensor, "B V"]:
    """Return the distribution that `pick` draws from."""
    if options.temperature == 0:
        likeliest = logits.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(logits, dtype=torch.float32).scatter_(1, likeliest, 1.0)
    p, order = _kept(logits.float(), options)
    p = p / p.sum(-1, keepdim=True)
    return p if order is None else torch.zeros(logits.shape).to(p).scatter_(1, order, p)


def _kept(
    logits: Float[Tensor, "B V"], options: TextOptions
) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"] | None]:
    """Return what may be drawn, in proportion, and which tokens that is; None for all in order."""
    p, order = _ordered(logits, options)
    if options.top_p is not None:
        p = p.masked_fill(p.cumsum(-1) - p >= options.top_p, 0)
    if options.min_p is not None:
        p = p.masked_fill(p < options.min_p * p.amax(-1, keepdim=True), 0)
    return p, order


def _ordered(
    logits: Float[Tensor, "B V"], options: TextOptions
) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"] | None]:
    """Return probabilities, likeliest first if that matters, and whose they are."""
    temperature, tokens = max(options.temperature, COLDEST), logits.shape[1]
    if options.top_k is not None:
        logits, order = logits.topk(min(options.top_k, tokens))
        return torch.softmax(logits / temperature, dim=-1), order
    if options.top_p is None:
        return torch.softmax(logits / temperature, dim=-1), None
    if tokens > FEW:
        p = torch.softmax(logits / temperature, dim=-1)
        few, order = p.topk(LIKELIEST)
        if (few.sum(-1) >= options.top_p).all():
            return few, order
        return p.sort(dim=-1, descending=True, stable=True)
    logits, order = logits.sort(dim=-1, descending=True, stable=True)
    return torch.softmax(logits / temperature, dim=-1), order
