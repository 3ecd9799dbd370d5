"""Claims about weights in eight bits."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_decoder import small_decoder
from text import int8
from text.int8 import Int8Embedding, Int8Linear, quantised
from text.packing import to_int8
from text.perplexity import perplexity_of

LARGEST_SUM = 2**31 - 1


def in_whole_numbers(x: torch.Tensor, layer: Int8Linear) -> torch.Tensor:
    """Return what the C++ operation says, in integers of torch."""
    limit = min(32767, LARGEST_SUM // (127 * x.shape[1]))
    largest = x.abs().amax(1, keepdim=True).clamp_min(1e-30)
    numbers = (x * (torch.tensor(float(limit)) / largest)).round().long()
    sums = numbers @ layer.values.long().T
    return sums.float() * (layer.scale * (largest / limit))


def test_eight_bits_are_the_nearest_of_255_steps_a_row():
    weight = torch.randn(20, 30) * torch.logspace(-3, 3, 20)[:, None]
    values, scale = quantised(weight)
    torch.testing.assert_close(values.abs().amax(1), torch.full((20,), 127, dtype=torch.int8))
    apart = (values * scale[:, None] - weight).abs()
    assert (apart <= scale[:, None] * 0.5001).all()
    zero, _ = quantised(torch.zeros(2, 3))
    assert (zero == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 300), st.integers(1, 23), st.integers(0, 99))
def test_the_product_is_the_one_of_whole_numbers_bit_for_bit(rows, inputs, outputs, seed):
    torch.manual_seed(seed)
    layer = Int8Linear(torch.randn(outputs, inputs), None)
    x = torch.randn(rows, inputs) * torch.logspace(-20, 20, rows)[:, None]
    assert torch.equal(layer(x), in_whole_numbers(x, layer))


def test_no_sum_overflows():
    for inputs in (1, 516, 4096, 100_000):
        layer = Int8Linear(torch.ones(3, inputs), None)
        torch.testing.assert_close(layer(torch.ones(2, inputs)), torch.full((2, 3), float(inputs)))
        layer = Int8Linear(-torch.ones(3, inputs), None)
        torch.testing.assert_close(layer(torch.ones(2, inputs)), torch.full((2, 3), -float(inputs)))


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
    half = Int8Linear(weight.bfloat16(), None)(x.bfloat16())
    assert half.dtype == torch.bfloat16


def test_a_row_in_eight_bits_depends_on_neither_its_neighbours_nor_the_threads():
    layer, x = Int8Linear(torch.randn(480, 64), None), torch.randn(77, 64)
    x = x * torch.arange(77)[:, None]
    together, threads = layer(x), torch.get_num_threads()
    for i in range(77):
        assert torch.equal(layer(x[i : i + 1])[0], together[i])
    assert (together[0] == 0).all()
    torch.set_num_threads(2)
    many = layer(x.repeat(99, 1))
    torch.set_num_threads(threads)
    assert torch.equal(many, together.repeat(99, 1))


def test_a_row_that_is_no_number_stays_none_and_harms_no_other():
    layer, x = Int8Linear(torch.randn(9, 8), None), torch.randn(4, 8)
    plain = layer(x)
    x[1, 3], x[2, 5] = float("nan"), float("-inf")
    out = layer(x)
    assert out[1:3].isnan().all()
    assert torch.equal(out[[0, 3]], plain[[0, 3]])


@pytest.mark.parametrize("layout", ["unison", "gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_in_eight_bits_says_nearly_the_same(layout, tied):
    network, ids = small_decoder(tied, layout), torch.randint(60, (4, 20))
    eight = to_int8(copy.deepcopy(network))
    assert isinstance(eight.embed, Int8Embedding)
    assert not any(isinstance(part, torch.nn.Linear) for part in eight.modules())
    with torch.inference_mode():
        plain, rounded = network(ids), eight(ids)
    assert float((plain - rounded).norm() / plain.norm()) < 0.05
    windows = [(ids[:, :-1], ids[:, 1:])]
    assert perplexity_of(eight, windows) == pytest.approx(perplexity_of(network, windows), rel=0.05)


def test_a_model_in_eight_bits_takes_a_quarter_of_the_memory():
    network = small_decoder()
    whole = sum(p.numel() for p in network.parameters() if p.ndim > 1)
    eight = to_int8(network)
    kept = {b.data_ptr(): b.numel() for b in eight.buffers() if b.dtype == torch.int8}
    assert sum(kept.values()) == whole - network.null.numel()


WITHOUT_COMPILER = """
import torch
from text.int8 import Int8Linear
try:
    Int8Linear(torch.ones(2, 3), None)
except ValueError as error:
    print(error)
"""


def test_a_missing_compiler_is_a_clear_line(tmp_path):
    places = {"TORCH_EXTENSIONS_DIR": str(tmp_path), "CXX": "no-such-compiler"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER], env=os.environ | places,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "there is no no-such-compiler; install one" in done.stdout
    assert list(tmp_path.rglob("*.so")) == []


def test_weights_on_another_device_are_a_clear_line():
    with pytest.raises(ValueError, match="lie on meta; leave --quantise out"):
        Int8Linear(torch.ones(2, 3, device="meta"), None)


def test_the_product_is_compiled_anew_for_another_cpu(monkeypatch):
    here = int8._library()
    monkeypatch.setattr(int8, "_cpu", lambda: {"architecture": "elsewhere"})
    assert int8._library() != here


@pytest.mark.slow
def test_the_product_is_compiled_once_and_then_found(tmp_path):
    places = os.environ | {"TORCH_EXTENSIONS_DIR": str(tmp_path)}
    script = (
        "import torch; from text.int8 import Int8Linear;"
        "print(Int8Linear(torch.ones(2, 3), None)(torch.ones(1, 3)))"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", script], env=places, capture_output=True, text=True)
        for _ in range(2)
    )
    assert first.stdout == second.stdout == "tensor([[3., 3.]])\n"
    assert "once" in first.stderr
    assert "once" not in second.stderr
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".so"]
