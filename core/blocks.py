"""Transformer blocks: plain (towers) and modulated by time and condition (denoisers)."""

from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from core.attention import Attention

MLPKind = Literal["relu2", "swiglu"]
"""ReLU squared (So et al. 2021, Primer) or SwiGLU (Shazeer 2020), at equal parameters."""


class ReLU2(nn.Module):
    """Two matrices with a squared ReLU between; the output starts at zero."""

    def __init__(self, width: int, hidden: int | None = None):
        super().__init__()
        hidden = hidden or 4 * width
        self.up = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Map each token on its own."""
        return self.out(F.relu(self.up(x)).square())


class SwiGLU(nn.Module):
    """Three matrices of two thirds the width: the parameters of `ReLU2`; the output starts at 0."""

    def __init__(self, width: int, hidden: int | None = None):
        super().__init__()
        hidden = hidden or 8 * width // 3
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Map each token on its own."""
        return self.out(gated(self.up(x)))


def gated(x: Float[Tensor, "*B H2"]) -> Float[Tensor, "*B H"]:
    """Return SiLU of the first half of the channels times the second half."""
    if x.requires_grad and not torch.compiler.is_compiling():
        return cast(Tensor, _Gated.apply(x))
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


class _Gated(torch.autograd.Function):
    """`gated`, whose gradient is written where it belongs: autograd would copy the halves together.

    6.2 ms for 9.1, there and back, of 2,048 tokens and 1,364 channels on one CPU thread (LOG.md).
    """

    @staticmethod
    def forward(ctx: Any, x: Float[Tensor, "*B H2"]) -> Float[Tensor, "*B H"]:
        gate, value = x.chunk(2, dim=-1)
        opened = F.silu(gate)
        ctx.save_for_backward(x, opened)
        return opened * value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "*B H"]) -> Float[Tensor, "*B H2"]:
        x, opened = ctx.saved_tensors
        gate, value = x.chunk(2, dim=-1)
        whole = torch.empty_like(x)
        of_gate, of_value = whole.chunk(2, dim=-1)
        torch.mul(grad, opened, out=of_value)
        torch.ops.aten.silu_backward.grad_input(grad * value, gate, grad_input=of_gate)
        return whole


def build_mlp(kind: MLPKind, width: int) -> nn.Module:
    """Return the MLP of that kind."""
    return {"relu2": ReLU2, "swiglu": SwiGLU}[kind](width)


class Block(nn.Module):
    """Pre-norm attention and MLP; at initialisation it is the identity."""

    def __init__(self, width: int, heads: int, *, mlp: MLPKind = "relu2"):
        super().__init__()
        self.attention_norm = nn.RMSNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.RMSNorm(width)
        self.mlp = build_mlp(mlp, width)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        angles: Float[Tensor, "T K2"],
        *,
        mask: Bool[Tensor, "B 1 Q L"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Return the tokens after one round of looking around and thinking."""
        x = x + self.attention(self.attention_norm(x), angles, mask=mask)
        return x + self.mlp(self.mlp_norm(x))


class AdaptiveBlock(nn.Module):
    """A block whose norms are shifted, scaled and gated by time and condition.

    The output projections start at zero and the gates at one: the identity at initialisation, yet
    each projection learns from the first step (with zero gates it would wait for the gate).

    Source: Peebles and Xie 2023 (DiT), section 3.2, adaLN-Zero.
    """

    def __init__(self, width: int, heads: int, *, mlp: MLPKind = "relu2"):
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.RMSNorm(width, elementwise_affine=False)
        self.mlp = build_mlp(mlp, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        context: Float[Tensor, "B M D"],
        angles: Float[Tensor, "T K2"],
    ) -> Float[Tensor, "B T D"]:
        """Transform tokens under a context for all of them (M = 1) or for each (M = T)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(context).chunk(6, -1)
        h = self.attention_norm(x) * (1 + scale_a) + shift_a
        x = x + (1 + gate_a) * self.attention(h, angles)
        h = self.mlp_norm(x) * (1 + scale_m) + shift_m
        return x + (1 + gate_m) * self.mlp(h)
