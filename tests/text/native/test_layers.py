"""Claims about linear layers in C++, with weights in 32, 16 and 8 bits."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_decoder import small_decoder
from text.native.layers import NativeEmbedding, NativeLinear, quantised
from text.packing import to_native
from text.perplexity import perplexity_of

KINDS = ("float32", "bfloat16", "int8")
LARGEST_SUM = 2**31 - 1


def kept(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the weights that a layer of that kind has, in float64."""
    if kind == "int8":
        values, scale = quantised(weight)
        return values.double() * scale[:, None].double()
    return weight.to(getattr(torch, kind)).double()


def test_eight_bits_are_the_nearest_of_255_steps_a_row():
    weight = torch.randn(20, 30) * torch.logspace(-3, 3, 20)[:, None]
    values, scale = quantised(weight)
    torch.testing.assert_close(values.abs().amax(1), torch.full((20,), 127, dtype=torch.int8))
    apart = (values * scale[:, None] - weight).abs()
    assert (apart <= scale[:, None] * 0.5001).all()
    zero, _ = quantised(torch.zeros(2, 3))
    assert (zero == 0).all()


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(KINDS), st.integers(1, 70), st.integers(1, 300), st.integers(1, 75),
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_the_product_is_that_of_the_weights_that_are_kept(kind, rows, inputs, outputs, bias, seed):
    torch.manual_seed(seed)
    weight = torch.randn(outputs, inputs)
    shift = torch.randn(outputs) if bias else None
    x = torch.randn(rows, inputs) * torch.logspace(-6, 6, rows)[:, None]
    layer, weights = NativeLinear(weight, shift, kind), kept(weight, kind)
    exact = torch.nn.functional.linear(
        x.double(), weights, None if shift is None else shift.double()
    )
    size = x.double().abs().amax(1, keepdim=True) * weights.abs().sum(1) + exact.abs()
    assert float(((layer(x) - exact).abs() / size).max()) < 2e-5


def in_whole_numbers(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return what the C++ says of eight-bit weights, in integers of torch."""
    values, scale = quantised(weight)
    limit = min(32767, LARGEST_SUM // (127 * x.shape[1]))
    step = x.abs().amax(1, keepdim=True).clamp_min(1e-30) / limit
    sums = (x * (1 / step)).round().long() @ values.long().T
    return sums.float() * (scale * step)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 300), st.integers(1, 75), st.integers(0, 99))
def test_in_eight_bits_the_product_is_that_of_whole_numbers_bit_for_bit(
    rows, inputs, outputs, seed
):
    torch.manual_seed(seed)
    weight = torch.randn(outputs, inputs)
    x = torch.randn(rows, inputs) * torch.logspace(-20, 20, rows)[:, None]
    assert torch.equal(NativeLinear(weight, None, "int8")(x), in_whole_numbers(x, weight))


def test_no_sum_of_whole_numbers_overflows():
    for inputs in (1, 516, 4096, 100_000):
        for sign in (1, -1):
            layer = NativeLinear(sign * torch.ones(3, inputs), None, "int8")
            expected = torch.full((2, 3), float(sign * inputs))
            torch.testing.assert_close(layer(torch.ones(2, inputs)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_depends_on_neither_its_neighbours_nor_the_threads(kind):
    layer = NativeLinear(torch.randn(480, 66), torch.randn(480), kind)
    x = torch.randn(77, 66) * torch.arange(77)[:, None]
    together, threads = layer(x), torch.get_num_threads()
    for i in range(77):
        assert torch.equal(layer(x[i : i + 1])[0], together[i])
    torch.set_num_threads(2)
    many = layer(x.repeat(99, 1))
    torch.set_num_threads(threads)
    assert torch.equal(many, together.repeat(99, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_no_number_stays_none_and_harms_no_other(kind):
    layer, x = NativeLinear(torch.randn(9, 8), None, kind), torch.randn(4, 8)
    plain = layer(x)
    x[1, 3], x[2, 5] = float("nan"), float("nan")
    out = layer(x)
    assert out[1:3].isnan().all()
    assert torch.equal(out[[0, 3]], plain[[0, 3]])


@pytest.mark.parametrize("rows", [(1,), (5,), (2, 3)])
def test_the_result_has_the_rows_and_the_type_of_what_went_in(rows):
    layer = NativeLinear(torch.randn(48, 64), None, "int8")
    assert layer(torch.randn(*rows, 64)).shape == (*rows, 48)
    assert layer(torch.randn(*rows, 64).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_gives_the_rows_of_the_weights_that_are_kept(kind):
    weight, ids = torch.randn(41, 13), torch.randint(41, (2, 7))
    table = NativeEmbedding(NativeLinear(weight, None, kind), torch.float32)
    torch.testing.assert_close(table(ids), kept(weight, kind).float()[ids])


@pytest.mark.parametrize("layout", ["unison", "gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_in_eight_bits_says_nearly_the_same(layout, tied):
    network, ids = small_decoder(tied, layout), torch.randint(60, (4, 20))
    eight = to_native(copy.deepcopy(network), "int8")
    assert isinstance(eight.embed, NativeEmbedding)
    assert not any(isinstance(part, torch.nn.Linear) for part in eight.modules())
    with torch.inference_mode():
        plain, rounded = network(ids), eight(ids)
    assert float((plain - rounded).norm() / plain.norm()) < 0.05
    windows = [(ids[:, :-1], ids[:, 1:])]
    assert perplexity_of(eight, windows) == pytest.approx(perplexity_of(network, windows), rel=0.05)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
def test_a_model_takes_the_memory_of_its_bits_and_a_table_that_is_the_head_once(kind):
    network = small_decoder()
    matrices = sum(p.numel() for p in network.parameters() if p.ndim > 1) - network.null.numel()
    native = to_native(copy.deepcopy(network), kind)
    words = {b.data_ptr(): b.nbytes for n, b in native.named_buffers() if n.endswith("words")}
    bits = {"float32": 32, "bfloat16": 16, "int8": 8}[kind]
    assert matrices * bits // 8 <= sum(words.values()) < 1.1 * matrices * bits // 8


def test_weights_on_another_device_are_a_clear_line():
    with pytest.raises(ValueError, match="lie on meta; stay with PyTorch: --native false"):
        NativeLinear(torch.ones(2, 3, device="meta"), None, "int8")
