"""The denoising transformer of every continuous modality, and of the joint prior."""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.attention import rotary_angles
from core.blocks import AdaptiveBlock, MLPKind
from core.errors import UserError


@dataclass(frozen=True)
class DenoiserConfig:
    """Size of a denoising transformer."""

    width: int = 128
    """Channels of a token inside the network."""
    depth: int = 4
    """Transformer blocks."""
    heads: int = 4
    """Attention heads."""
    mlp: MLPKind = "relu2"
    """The MLP's kind."""

    def __post_init__(self):
        if min(self.width, self.depth, self.heads) < 1:
            raise UserError(f"width, depth and heads must be 1 or more: {self}")
        if self.width % (2 * self.heads):
            raise UserError(f"width {self.width} must be a multiple of twice {self.heads} heads")


class Denoiser(nn.Module):
    """Predicts clean tokens or their velocity from noisy ones, a time, and a condition.

    The condition is a unit vector; where it is absent a learned null stands in, so that one network
    holds the conditional and the unconditional flow (Ho and Salimans 2022).
    """

    positions: Int[Tensor, "T A"]

    def __init__(
        self,
        config: DenoiserConfig,
        channels: int,
        positions: Int[Tensor, "T A"],
        cond_dim: int,
    ):
        super().__init__()
        self.config = config
        self.register_buffer("positions", positions, persistent=False)
        self.read = nn.Linear(channels, config.width)
        self.place = nn.Parameter(0.5 * torch.randn(len(positions), config.width))
        self.context = Context(config.width, cond_dim)
        self.blocks = nn.ModuleList(
            AdaptiveBlock(config.width, config.heads, mlp=config.mlp) for _ in range(config.depth)
        )
        self.write = ModulatedHead(config.width, channels)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        time: Float[Tensor, "B *M"],
        cond: Float[Tensor, "B E"] | None,
        *,
        keep: Bool[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Return the raw prediction; `keep` is False where the condition is dropped."""
        context = self.context(time, cond, keep=keep)
        angles = rotary_angles(self.positions, self.config.width // self.config.heads)
        h = self.read(x) + self.place
        for block in self.blocks:
            h = block(h, context, angles)
        return self.write(h, context)


class Context(nn.Module):
    """Time and condition as one vector, for all tokens or for each."""

    def __init__(self, width: int, cond_dim: int):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.cond = nn.Linear(cond_dim, width) if cond_dim else None
        self.null = nn.Parameter(torch.zeros(width)) if cond_dim else None
        self.width, self.cond_dim = width, cond_dim

    def forward(
        self,
        time: Float[Tensor, "B *M"],
        cond: Float[Tensor, "B E"] | None,
        *,
        keep: Bool[Tensor, "B"] | None = None,
        more: Float[Tensor, "B D"] | None = None,
    ) -> Float[Tensor, "B M1 D"]:
        """Return the context, with `more` added to it; one time a sample gives M1 = 1."""
        time = time.reshape(len(time), -1)
        context = self.time(fourier_features(time, self.width))
        if more is not None:
            context = context + rearrange(more, "B D -> B 1 D")
        if self.cond is not None:
            context = context + rearrange(self._condition(len(time), cond, keep), "B D -> B 1 D")
        return nn.functional.silu(context)

    def _condition(
        self, batch: int, cond: Float[Tensor, "B E"] | None, keep: Bool[Tensor, "B"] | None
    ) -> Float[Tensor, "B D"]:
        assert self.cond is not None
        assert self.null is not None
        null = self.null.expand(batch, -1)
        if cond is None:
            return null
        embedded = self.cond(unit_entries(cond))
        return embedded if keep is None else torch.where(keep[:, None], embedded, null)


class ModulatedHead(nn.Module):
    """A norm shifted and scaled by the context, and a linear map that starts at zero."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, channels)
        for layer in (self.modulation, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, h: Float[Tensor, "B T D"], context: Float[Tensor, "B M D"]
    ) -> Float[Tensor, "B T C"]:
        """Return the prediction."""
        shift, scale = self.modulation(context).chunk(2, dim=-1)
        return self.out(self.norm(h) * (1 + scale) + shift)


def unit_entries(vector: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
    """Scale a unit vector, whose entries are of size 1/sqrt(E), to what a linear layer expects."""
    return vector * math.sqrt(vector.shape[1])


def fourier_features(time: Float[Tensor, "*B"], width: int) -> Float[Tensor, "*B D"]:
    """Return sines and cosines of times in [0, 1] at frequencies from 1/4 to 8 turns."""
    octaves = torch.linspace(-2, 3, width // 2, device=time.device)
    phase = 2 * math.pi * time[..., None] * 2**octaves
    return torch.cat([phase.cos(), phase.sin()], dim=-1)
