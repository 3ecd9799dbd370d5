import math

import pytest
import torch
from torch.testing import assert_close

from core.attention import Attention, apply_rotary, rotary_angles


def reference_attention(layer: Attention, x, positions):
    """Attention in float64, head by head and position by position, with complex rotations."""
    layer, x = layer.double(), x.double()
    batch, tokens, width = x.shape
    k_width = width // layer.heads
    angles = rotary_angles(positions, k_width).double()
    qkv = (x @ layer.qkv.weight.T).reshape(batch, tokens, 3, layer.heads, k_width)
    out = torch.zeros(batch, tokens, layer.heads, k_width, dtype=torch.float64)
    turn = torch.polar(torch.ones_like(angles), angles)

    def prepare(values, norm):
        scale = (values.square().mean(-1, keepdim=True) + torch.finfo(torch.float64).eps).sqrt()
        values = values / scale * norm.weight
        return torch.complex(values[..., : k_width // 2], values[..., k_width // 2 :]) * turn

    for n in range(layer.heads):
        q = prepare(qkv[:, :, 0, n], layer.q_norm)
        k = prepare(qkv[:, :, 1, n], layer.k_norm)
        for i in range(tokens):
            scores = (q[:, i : i + 1] * k.conj()).real.sum(-1) / math.sqrt(k_width)
            weights = scores.softmax(dim=-1)
            out[:, i, n] = (weights[..., None] * qkv[:, :, 2, n]).sum(1)
    return out.reshape(batch, tokens, width) @ layer.out.weight.T


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_attention_equals_a_float64_reference(axes):
    torch.manual_seed(0)
    layer = Attention(48, 2)
    torch.nn.init.normal_(layer.out.weight)
    torch.nn.init.normal_(layer.q_norm.weight)
    x, positions = torch.randn(2, 6, 48), torch.randint(0, 5, (6, axes))
    ours = layer(x, rotary_angles(positions, 24))
    assert_close(ours.double(), reference_attention(layer, x, positions), atol=1e-5, rtol=0)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_rotary_scores_depend_on_differences_of_positions_only(axes):
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 5, 24).double()
    here = torch.randint(0, 8, (5, axes))
    there = here + torch.randint(0, 8, (1, axes))

    def scores(positions):
        angles = rotary_angles(positions, 24).double()
        return apply_rotary(q, angles) @ apply_rotary(k, angles).mT

    assert_close(scores(here), scores(there), atol=1e-5, rtol=0)


def test_rotary_keeps_lengths():
    x = torch.randn(2, 3, 4, 8)
    turned = apply_rotary(x, rotary_angles(torch.arange(4)[:, None], 8))
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_every_axis_gets_its_own_channels():
    for axis in range(3):
        step = torch.zeros(2, 3, dtype=torch.long)
        step[1, axis] = 1
        moved = (rotary_angles(step, 24)[1] != 0).nonzero().flatten()
        assert moved.tolist() == list(range(axis, 12, 3))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="width 30"):
        Attention(30, 4)
