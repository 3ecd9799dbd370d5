"""Claims about causal attention."""

import math

import pytest
import torch
from torch.testing import assert_close

from core.attention import rotary_angles
from text.attention import AttentionConfig, CausalAttention, KVCache, Rotation


def rotation(tokens: int, width: int) -> Rotation:
    angles = rotary_angles(torch.arange(tokens)[:, None], width)
    return Rotation(angles.cos(), angles.sin())


def layer(kv_heads: int = 4, **options) -> CausalAttention:
    torch.manual_seed(0)
    made = CausalAttention(AttentionConfig(32, 4, kv_heads, 8, **options))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def reference(attention: CausalAttention, x: torch.Tensor) -> torch.Tensor:
    """The same in float64, head by head and token by token, with complex rotations."""
    config, x, attention = attention.config, x.double(), attention.double()
    angles = rotary_angles(torch.arange(x.shape[1])[:, None], config.head_width).double()
    turn, group = torch.polar(torch.ones_like(angles), angles), config.heads // config.kv_heads
    parts = attention.qkv(x).split(config.head_width, dim=-1)
    eps = config.eps or torch.finfo(torch.float64).eps

    def turned(part, norm):
        if norm is not None:
            part = part / (part.square().mean(-1, keepdim=True) + eps).sqrt() * norm.weight
        left, right = part.chunk(2, dim=-1)
        return torch.complex(left, right) * turn

    heads = []
    for n in range(config.heads):
        q = turned(parts[n], attention.q_norm)
        k = turned(parts[config.heads + n // group], attention.k_norm)
        v = parts[config.heads + config.kv_heads + n // group]
        rows = []
        for t in range(x.shape[1]):
            scores = (q[:, t : t + 1] * k[:, : t + 1].conj()).real.sum(-1)
            weights = (scores / math.sqrt(config.head_width)).softmax(-1)
            rows.append((weights[..., None] * v[:, : t + 1]).sum(1))
        heads.append(torch.stack(rows, dim=1))
    return attention.out(torch.cat(heads, dim=-1))


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize(
    "options", [{}, {"qk_norm": False}, {"bias": True}, {"eps": 1e-3}], ids=str
)
def test_attention_equals_a_float64_reference(kv_heads: int, options: dict):
    attention, x = layer(kv_heads, **options), torch.randn(2, 6, 32)
    ours = attention(x, rotation(6, 8)).double()
    assert_close(ours, reference(attention, x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("pieces", [[4, 1, 1, 1], [3, 4], [1, 2, 4]], ids=str)
def test_cached_attention_equals_recomputation(kv_heads: int, pieces: list[int]):
    attention, x, turns = layer(kv_heads), torch.randn(3, 7, 32), rotation(7, 8)
    cache = KVCache(torch.zeros(3, kv_heads, 7, 8), torch.zeros(3, kv_heads, 7, 8))
    parts, start = [], 0
    for piece in pieces:
        here = slice(start, start + piece)
        turn = Rotation(turns.cos[here], turns.sin[here])
        parts.append(attention(x[:, here], turn, cache=cache))
        start += piece
    assert_close(torch.cat(parts, dim=1), attention(x, turns), atol=1e-5, rtol=1e-4)


def test_a_full_cache_refuses_more():
    cache = KVCache(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))
    with pytest.raises(ValueError, match="3 tokens do not fit a cache of 2"):
        cache.append(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4))


def test_bfloat16_training_attends_in_float32_on_a_cpu():
    attention, x = layer(), torch.randn(2, 6, 32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attention(x, rotation(6, 8))
    assert mixed.dtype == torch.bfloat16
    assert_close(mixed.float(), attention(x, rotation(6, 8)), atol=0.1, rtol=0.1)
