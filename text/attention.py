"""Causal attention with a cache of keys and values, and fewer heads for these than for queries."""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from core.errors import UserError


@dataclass
class KVCache:
    """Keys and values of one layer for tokens already seen; static size, filled from the left."""

    keys: Float[Tensor, "B M L K"]
    values: Float[Tensor, "B M L K"]
    length: int = 0

    def append(
        self, k: Float[Tensor, "B M T K"], v: Float[Tensor, "B M T K"]
    ) -> tuple[Float[Tensor, "B M L2 K"], Float[Tensor, "B M L2 K"]]:
        """Store new tokens and return everything stored so far."""
        end = self.length + k.shape[2]
        if end > self.keys.shape[2]:
            raise UserError(f"{end} tokens do not fit a cache of {self.keys.shape[2]}")
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


@dataclass  # not frozen, of which torch.compile makes nothing
class Rotation:
    """Cosines and sines of the angles by which tokens' channel pairs are turned."""

    cos: Float[Tensor, "*#B T K2"]
    sin: Float[Tensor, "*#B T K2"]

    def __call__(self, x: Float[Tensor, "B N T K"]) -> Float[Tensor, "B N T K"]:
        """Turn channel pairs (i, i + K/2), so that q.k depends on differences of positions only.

        Source: Su et al. 2021 (RoFormer), eq. 34, in the pairing of Llama's checkpoints.
        """
        if x.requires_grad and not torch.compiler.is_compiling():
            return cast(Tensor, _Turn.apply(x, self.cos, self.sin))
        left, right = x.chunk(2, dim=-1)
        cos, sin = self.cos, self.sin
        return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


class _Turn(torch.autograd.Function):
    """A rotation, whose gradient is the rotation back; each half is written where it belongs.

    1.6 ms for 2.3, there and back, of 8 heads of 2,048 tokens on one CPU thread (LOG.md).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.dtype = x.dtype
        return _turned(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, -sin).to(ctx.dtype), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    out = torch.empty_like(x, dtype=torch.result_type(x, cos))
    (left, right), (first, second) = x.chunk(2, dim=-1), out.chunk(2, dim=-1)
    torch.mul(left, cos, out=first).addcmul_(right, sin, value=-1)
    torch.mul(left, sin, out=second).addcmul_(right, cos)
    return out


@dataclass(frozen=True)
class AttentionConfig:
    """Shape of an attention layer."""

    width: int
    """Channels of a token."""
    heads: int
    """Heads of queries."""
    kv_heads: int
    """Heads of keys and values; each serves as many heads of queries (Ainslie et al. 2023)."""
    head_width: int
    """Channels of a head."""
    qk_norm: bool = True
    """Normalise queries and keys of each head (Henry et al. 2020, Dehghani et al. 2023)."""
    bias: bool = False
    """Add a bias in the projections."""
    eps: float | None = None
    """What the norms add to the mean square; None is the smallest that float32 tells from 1."""


class CausalAttention(nn.Module):
    """Multi-head attention in which a token sees itself and those before; the output starts at 0.

    Source: Vaswani et al. 2017.
    """

    def __init__(self, config: AttentionConfig):
        super().__init__()
        self.config = config
        queries = config.heads * config.head_width
        kv = config.kv_heads * config.head_width
        self.qkv = nn.Linear(config.width, queries + 2 * kv, bias=config.bias)
        self.out = nn.Linear(queries, config.width, bias=config.bias)
        nn.init.zeros_(self.out.weight)
        self.q_norm = nn.RMSNorm(config.head_width, config.eps) if config.qk_norm else None
        self.k_norm = nn.RMSNorm(config.head_width, config.eps) if config.qk_norm else None

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        rotation: Rotation | None,
        *,
        mask: Bool[Tensor, "#B 1 T L"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Attend; `mask` is True where a query may look at a key, by default at all before it.

        With a cache the tokens come after those stored.
        """
        q, k, v = self._heads(x)
        if self.q_norm is not None and self.k_norm is not None:
            kind = self.q_norm.weight.dtype  # under autocast wider than the heads'
            q, k = self.q_norm(q.to(kind)), self.k_norm(k.to(kind))
        if rotation is not None and cache is not None:  # of few tokens calls are what takes time
            q, k = rotation(torch.cat([q, k], dim=1)).split([q.shape[1], k.shape[1]], dim=1)
        elif rotation is not None:
            q, k = rotation(q), rotation(k)
        if cache is not None:
            k, v = cache.append(k.to(cache.keys.dtype), v.to(cache.values.dtype))
        return self.out(rearrange(attend(q, k, v, mask), "B N T K -> B T (N K)"))

    def _heads(
        self, x: Float[Tensor, "B T D"]
    ) -> tuple[Float[Tensor, "B N T K"], Float[Tensor, "B M T K"], Float[Tensor, "B M T K"]]:
        config = self.config
        sizes = [config.heads, config.kv_heads, config.kv_heads]
        heads = rearrange(self.qkv(x), "B T (H K) -> B H T K", K=config.head_width)
        q, k, v = heads.split(sizes, dim=1)
        return q, k, v


def attend(
    q: Float[Tensor, "B N T K"],
    k: Float[Tensor, "B M L K"],
    v: Float[Tensor, "B M L K"],
    mask: Bool[Tensor, "#B 1 T L"] | None = None,
) -> Float[Tensor, "B N T K"]:
    """Return each query's mean of values; the queries are the last of the tokens.

    In float32 on a CPU: the backward pass in bfloat16 took four times as long there (torch 2.11).
    """
    tokens, seen = q.shape[2], k.shape[2]
    if mask is None and 1 < tokens < seen:
        mask = torch.ones(tokens, seen, dtype=torch.bool, device=q.device).tril(seen - tokens)
        mask = mask[None, None]
    wide = q.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    with torch.autocast(
        q.device.type, enabled=not wide and torch.is_autocast_enabled(q.device.type)
    ):
        q, k, v = (x.float() for x in (q, k, v)) if wide else (q.to(v.dtype), k.to(v.dtype), v)
        if tokens == 1:
            return _attend_once(q, k, v, mask)
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None and tokens > 1,
            enable_gqa=q.shape[1] != k.shape[1],
        )


def _attend_once(
    q: Float[Tensor, "B N 1 K"],
    k: Float[Tensor, "B M L K"],
    v: Float[Tensor, "B M L K"],
    mask: Bool[Tensor, "#B 1 1 L"] | None,
) -> Float[Tensor, "B N 1 K"]:
    """Return the mean of values of one query a head; heads that share keys are its queries.

    On a CPU by two products of matrices: a kernel for blocks of queries takes longer (LOG.md).
    """
    q = rearrange(q, "B (M G) 1 K -> B M G K", M=k.shape[1])
    if q.device.type != "cpu":
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    else:
        scores = (q * q.shape[-1] ** -0.5) @ k.mT
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        out = scores.softmax(dim=-1) @ v
    return rearrange(out, "B M G K -> B (M G) 1 K")
