import pytest
import torch
from einops import rearrange
from torch.testing import assert_close

from core.attention import Attention, rotary_angles
from core.attention_record import attention_weights, recorded_attention
from core.denoiser import Denoiser, DenoiserConfig
from text.attention import AttentionConfig, CausalAttention
from text.model import TextConfig, TextModel

WIDTH, HEADS, TOKENS = 16, 2, 5


def excite(module: torch.nn.Module) -> torch.nn.Module:
    """Undo the zeros that output projections start from."""
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return module


@pytest.mark.parametrize("masked", [False, True])
def test_recorded_weights_times_values_are_the_output_of_attention(masked: bool):
    layer = excite(Attention(WIDTH, HEADS))
    x, angles = torch.randn(3, TOKENS, WIDTH), rotary_angles(torch.arange(TOKENS)[:, None], 8)
    mask = torch.rand(3, 1, TOKENS, TOKENS) < 0.5 if masked else None
    if mask is not None:
        mask = mask | torch.eye(TOKENS, dtype=torch.bool)
    with recorded_attention() as weights:
        out = layer(x, angles, mask=mask)
    v = rearrange(layer.qkv(x), "B T (three N K) -> three B N T K", three=3, N=HEADS)[2]
    assert_close(layer.out(rearrange(weights[0] @ v, "B N T K -> B T (N K)")), out)
    assert_close(weights[0].sum(dim=-1), torch.ones(3, HEADS, TOKENS))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_weights_of_causal_attention_whose_heads_share_keys_give_its_output(kv_heads: int):
    layer = excite(CausalAttention(AttentionConfig(WIDTH, 4, kv_heads, 4)))
    x = torch.randn(2, TOKENS, WIDTH)
    with recorded_attention() as weights:
        out = layer(x, None)
    v = layer._heads(x)[2].repeat_interleave(4 // kv_heads, dim=1)
    assert_close(layer.out(rearrange(weights[0] @ v, "B N T K -> B T (N K)")), out)
    assert not weights[0].triu(1).any()


def test_added_scores_and_another_scale_count():
    q, bias = torch.randn(1, 2, 3, 4), torch.randn(3, 3)
    with recorded_attention() as weights:
        out = torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=bias, scale=0.3)
    assert_close(weights[0] @ q, out)
    assert_close(weights[0], attention_weights(q, q, bias, scale=0.3))


def test_recording_changes_no_output_and_gives_an_entry_a_layer():
    text = excite(TextModel(TextConfig(width=16, depth=3, heads=2), cond_dim=8))
    ids, cond = torch.randint(0, 99, (2, 7)), torch.randn(2, 8)
    grid = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    picture = excite(Denoiser(DenoiserConfig(16, 2, 2), 6, grid, 8))
    x, time = torch.randn(2, 4, 6), torch.rand(2, 1)
    plain = text(ids, cond), picture(x, time, cond)
    with recorded_attention() as weights:
        watched = text(ids, cond), picture(x, time, cond)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    assert [w.shape[-1] for w in weights] == [11, 11, 11, 4, 4]
    text(ids, cond)
    assert len(weights) == 5
