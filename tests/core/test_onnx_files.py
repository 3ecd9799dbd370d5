from pathlib import Path

import pytest
import torch
from torch import nn

from core import onnx_files
from core.onnx_files import check_installed, reproducible, write_onnx


class Drifting(nn.Module):
    """Adds more at each call: what a file of it says is no longer true."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x + self.calls


def write(path: Path, module: nn.Module) -> float:
    x = torch.randn(2, 3)
    return write_onnx(path, module, {"x": x}, {"x": {0: "batch"}}, ["y"], [{"x": x[:1]}])


def test_a_file_that_differs_from_the_network_is_not_handed_over(tmp_path):
    assert write(tmp_path / "line.onnx", nn.Linear(3, 2)) < 1e-6
    with pytest.raises(AssertionError, match=r"drift\.onnx differs from PyTorch by"):
        write(tmp_path / "drift.onnx", Drifting())


def test_missing_packages_are_named_with_the_way_to_install_them(monkeypatch):
    check_installed()
    monkeypatch.setattr(onnx_files, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(ValueError, match=r"need no_such_package, .* pip install -e '\.\[onnx\]'"):
        check_installed()


def test_inputs_are_the_same_at_each_export_and_the_callers_draws_go_on():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with reproducible():
            draws.append(torch.randn(3))
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)
