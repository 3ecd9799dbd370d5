"""Claims about packed weights."""

import copy

import pytest
import torch

from core.precision import has_bfloat16
from tests.small_decoder import small_decoder
from text.packing import PackedLinear, pack, prepared

half = pytest.mark.skipif(not has_bfloat16(), reason="a CPU without bfloat16")


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=half)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_is_the_layer(dtype, bias):
    torch.manual_seed(0)
    weight, x = torch.randn(48, 64, dtype=dtype), torch.randn(3, 2, 64, dtype=dtype)
    shift = torch.randn(48, dtype=dtype) if bias else None
    exact = torch.nn.functional.linear(x, weight, shift)
    close = 1e-4 if dtype == torch.float32 else 0.3
    torch.testing.assert_close(PackedLinear(weight, shift, 6)(x), exact, atol=close, rtol=1e-2)


def test_a_packed_model_writes_the_same():
    network = small_decoder(width=256)
    packed = pack(copy.deepcopy(network), 3)
    assert any(isinstance(part, PackedLinear) for part in packed.modules())
    ids = torch.randint(60, (3, 9))
    torch.testing.assert_close(packed(ids), network(ids), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("rows", [1, 3])
def test_bfloat16_is_prepared_on_any_cpu(rows):
    network, ids = small_decoder(width=256), torch.randint(60, (rows, 9))
    with torch.inference_mode():
        plain = network(ids)
        half = prepared(copy.deepcopy(network), rows, "bfloat16")(ids)
    assert float((plain - half).norm() / plain.norm()) < 0.05
