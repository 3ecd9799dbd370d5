"""Writing: one token after another, by pure functions of logits and of one seed a text."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.noise import uniform
from core.sampling import GUIDANCE
from text.model import TextModel
from text.tokenizer import BOS, EOS

COLDEST = 1e-4  # a temperature of zero, as far as a division can go there


@dataclass(frozen=True)
class TextOptions:
    """How to write a text."""

    temperature: float = 1.0
    """Divides the logits: 0 takes the likeliest token, 1 samples the model as it is."""
    top_k: int | None = None
    """Sample among this many likeliest tokens only."""
    top_p: float | None = 0.97
    """Sample among the fewest tokens that hold this much probability (Holtzman et al. 2020)."""
    guidance: float = GUIDANCE
    """Weight of the conditional over the unconditional logits; 1 is no guidance."""
    max_tokens: int | None = None
    """Tokens at most; by default as many as the model's context holds."""

    def __post_init__(self):
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature} but must be 0 or more")
        if self.guidance < 0:
            raise ValueError(f"guidance is {self.guidance} but must be 0 or more (1 is none)")
        for name in ("top_k", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value} but must be at least 1, or left out")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p} but must be in (0, 1], or left out")


def write(
    model: TextModel,
    cond: Float[Tensor, "B E"] | None,
    options: TextOptions,
    seeds: Int[Tensor, "B"],
    tokens: int,
) -> Int[Tensor, "B T"]:
    """Return the ids of one text a seed; what follows an `<eos>` is `<eos>`.

    Args:
        model: Gives the logits.
        cond: What to write about; None for anything.
        options: How to write.
        seeds: One a text; the n-th token is drawn with the n-th stream of its seed.
        tokens: Size of the tokenizer; the model's table may have more rows.
    """
    length = min(options.max_tokens or model.config.context, model.config.context - 1)
    guided = cond is not None and options.guidance != 1
    prefix = model.prefix(cond, len(seeds))
    if guided:
        prefix = torch.cat([prefix, model.prefix(None, len(seeds))])
    caches = model.begin(prefix, length)
    last = torch.full_like(seeds, BOS)
    ids: list[Int[Tensor, "B"]] = []
    while len(ids) < length and not (last == EOS).all():
        logits = model.step(torch.cat([last, last]) if guided else last, caches)
        if guided:
            conditional, unconditional = logits.chunk(2)
            logits = torch.lerp(unconditional, conditional, options.guidance)
        draw = uniform(seeds, stream=len(ids))
        choice = EOS + pick(logits[:, EOS:tokens], draw, options)
        last = torch.where(last == EOS, EOS, choice)
        ids.append(last)
    return torch.stack(ids, dim=1)


def pick(
    logits: Float[Tensor, "B V"], draw: Float[Tensor, "B"], options: TextOptions
) -> Int[Tensor, "B"]:
    """Return the token at which the cumulated probability, likeliest first, passes the draw."""
    logits, order = logits.float().sort(dim=-1, descending=True, stable=True)
    p = torch.softmax(logits / max(options.temperature, COLDEST), dim=-1)
    if options.top_k is not None:
        p[:, options.top_k :] = 0
    if options.top_p is not None:
        p[p.cumsum(-1) - p >= options.top_p] = 0
    cumulated = p.cumsum(-1)
    rank = (cumulated < draw[:, None] * cumulated[:, -1:]).sum(-1, keepdim=True)
    return order.gather(1, rank.clamp(max=p.shape[1] - 1))[:, 0]
