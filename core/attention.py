"""Attention over tokens that stand at integer coordinates: one, two or three axes."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.errors import UserError


def rotary_angles(
    positions: Int[Tensor, "T A"], head_width: int, *, base: float = 100.0
) -> Float[Tensor, "T K2"]:
    """Return one rotation angle a token and pair of channels.

    The K/2 pairs are dealt to the axes in turn, so each axis gets a whole range of frequencies.
    `base` is small because our grids and sequences are short (up to about a hundred steps).

    Source: Su et al. 2021 (RoFormer), eq. 15, for one axis.
    """
    pairs, axes = head_width // 2, positions.shape[1]
    axis = torch.arange(pairs, device=positions.device) % axes
    rank = torch.arange(pairs, device=positions.device) // axes
    per_axis = (pairs + axes - 1) // axes
    frequency = base ** -(rank.float() / per_axis)
    return positions[:, axis].float() * frequency


def apply_rotary(
    x: Float[Tensor, "B N T K"], angles: Float[Tensor, "T K2"]
) -> Float[Tensor, "B N T K"]:
    """Rotate channel pairs (i, i + K/2) by their angle, so that q.k depends on differences only."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


class Attention(nn.Module):
    """Multi-head self-attention with QK-norm and rotary positions; the output starts at zero.

    Source: Vaswani et al. 2017; QK-norm from Henry et al. 2020 and Dehghani et al. 2023.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % (2 * heads):
            raise UserError(f"width {width} must be a multiple of twice the {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm = nn.RMSNorm(width // heads)
        self.k_norm = nn.RMSNorm(width // heads)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        angles: Float[Tensor, "T K2"],
        *,
        mask: Bool[Tensor, "B 1 Q L"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Attend; `mask` is True where a query may look at a key."""
        q, k, v = rearrange(self.qkv(x), "B T (three N K) -> three B N T K", three=3, N=self.heads)
        q = apply_rotary(self.q_norm(q), angles).to(v.dtype)
        k = apply_rotary(self.k_norm(k), angles).to(v.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(out, "B N T K -> B T (N K)"))
