"""Claims about the parts of transformer blocks."""

import torch
from torch.testing import assert_close

from core.blocks import gated


def test_the_gate_of_swiglu_has_the_gradient_that_autograd_gives():
    x = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gated, x)
    gate, value = x.chunk(2, dim=-1)
    assert_close(gated(x), torch.nn.functional.silu(gate) * value)
    with torch.no_grad():
        assert_close(gated(x), torch.nn.functional.silu(gate) * value)
