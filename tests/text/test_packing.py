"""Claims about packed and eight-bit weights, and compiled steps."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from text.model import TextConfig, TextModel
from text.packing import (
    Dots,
    Int8Embedding,
    Int8Linear,
    PackedLinear,
    Sums,
    pack,
    prepared,
    quantised,
    to_int8,
)
from text.perplexity import perplexity_of

vnni = pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="no AVX-512 VNNI")


def model(tied: bool = True, layout: str = "qwen3", width: int = 64) -> TextModel:
    torch.manual_seed(0)
    config = TextConfig(
        width=width, depth=2, heads=4, context=32, vocabulary=60, prefix=0, layout=layout,
        tied=tied, mlp="gelu" if layout == "gpt2" else "swiglu",
    )  # fmt: skip
    network = TextModel(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def test_eight_bits_are_the_nearest_of_255_steps_a_row():
    weight = torch.randn(20, 30) * torch.logspace(-3, 3, 20)[:, None]
    values, scale = quantised(weight)
    torch.testing.assert_close(values.abs().amax(1), torch.full((20,), 127, dtype=torch.int8))
    apart = (values * scale[:, None] - weight).abs()
    assert (apart <= scale[:, None] * 0.5001).all()
    zero, _ = quantised(torch.zeros(2, 3))
    assert (zero == 0).all()


@vnni
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(1,), (5,), (2, 3)])
def test_activations_keep_their_precision_beside_eight_bit_weights(bias, rows):
    torch.manual_seed(0)
    weight, x = torch.randn(48, 64), torch.randn(*rows, 64) * torch.tensor(10.0) ** 3
    shift = torch.randn(48) if bias else None
    values, scale = quantised(weight)
    exact = torch.nn.functional.linear(x, values * scale[:, None], shift)
    ours = Int8Linear(weight, shift)(x)
    assert float((ours - exact).norm() / exact.norm()) < 2e-4


@vnni
def test_a_row_in_eight_bits_does_not_depend_on_its_neighbours():
    layer, x = Int8Linear(torch.randn(48, 64), None), torch.randn(7, 64) * torch.arange(7)[:, None]
    together = layer(x)
    for i in range(7):
        assert torch.equal(layer(x[i : i + 1])[0], together[i])
    assert (together[0] == 0).all()


@vnni
@pytest.mark.parametrize("layout", ["unison", "gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_in_eight_bits_says_nearly_the_same(layout, tied):
    network, ids = model(tied, layout), torch.randint(60, (4, 20))
    eight = to_int8(copy.deepcopy(network))
    assert isinstance(eight.embed, Int8Embedding)
    assert not any(isinstance(part, torch.nn.Linear) for part in eight.modules())
    with torch.inference_mode():
        plain, rounded = network(ids), eight(ids)
    assert float((plain - rounded).norm() / plain.norm()) < 0.05
    windows = [(ids[:, :-1], ids[:, 1:])]
    assert perplexity_of(eight, windows) == pytest.approx(perplexity_of(network, windows), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_is_the_layer(dtype, bias):
    torch.manual_seed(0)
    weight, x = torch.randn(48, 64, dtype=dtype), torch.randn(3, 2, 64, dtype=dtype)
    shift = torch.randn(48, dtype=dtype) if bias else None
    exact = torch.nn.functional.linear(x, weight, shift)
    close = 1e-4 if dtype == torch.float32 else 0.3
    torch.testing.assert_close(PackedLinear(weight, shift, 6)(x), exact, atol=close, rtol=1e-2)


def test_a_packed_model_writes_the_same():
    network = model(width=256)
    packed = pack(copy.deepcopy(network), 3)
    assert any(isinstance(part, PackedLinear) for part in packed.modules())
    ids = torch.randint(60, (3, 9))
    torch.testing.assert_close(packed(ids), network(ids), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("eight", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_dots_read_whole_prompts_as_linear_layers_do(eight, tied):
    network, ids = model(tied, "gpt2"), torch.randint(60, (2, 9))
    dots = prepared(copy.deepcopy(network), 1, quantise="int8" if eight else None, compile=True)
    assert sum(isinstance(part, Dots) for part in dots.modules()) == 2 * 4 + 1
    with torch.inference_mode():
        plain, other = network(ids), dots(ids)
    assert float((plain - other).norm() / plain.norm()) < (0.05 if eight else 1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_sums_read_whole_prompts_as_linear_layers_do(tied):
    network, ids = model(tied, "gpt2"), torch.randint(60, (2, 9))  # 60 outputs: not whole eights
    sums = prepared(copy.deepcopy(network), 12, compile=True)
    assert sum(isinstance(part, Sums) for part in sums.modules()) == 2 * 4 + 1
    torch.testing.assert_close(sums(ids), network(ids), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ready", ["plain", "packed", pytest.param("int8", marks=vnni), "dots", "int8 dots", "sums"]
)
def test_a_compiled_step_writes_what_the_model_does(ready):
    script = Path(__file__).parents[1] / "compiled_writer.py"
    done = subprocess.run(
        [sys.executable, str(script), ready], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "same"
