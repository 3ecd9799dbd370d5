"""Claims about how the C++ is compiled and found again."""

import os
import subprocess
import sys

import pytest

from text.native import library as lib

MULTIPLY = (
    "import torch; from text.native.layers import NativeLinear;"
    "print(NativeLinear(torch.ones(2, 3), None, 'int8')(torch.ones(1, 3)))"
)
WITHOUT_COMPILER = """
from text.native.library import library
try:
    library()
except ValueError as error:
    print(error)
"""


def python(script: str, **places: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], env=os.environ | places,
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_a_missing_compiler_is_a_clear_line(tmp_path):
    done = python(WITHOUT_COMPILER, XDG_CACHE_HOME=str(tmp_path), CXX="no-such-compiler")
    assert "there is no no-such-compiler; install one" in done.stdout
    assert list(tmp_path.rglob("*.so")) == []


def test_a_compiler_that_refuses_is_a_clear_line_and_leaves_nothing(tmp_path):
    done = python(WITHOUT_COMPILER, XDG_CACHE_HOME=str(tmp_path), CXX="false")
    assert "false cannot compile" in done.stdout
    assert "(it gives no reason); name g++" in done.stdout
    assert "--native false" in done.stdout
    assert list((tmp_path / "unison").iterdir()) == []


def test_the_library_is_compiled_anew_for_another_cpu(monkeypatch):
    here = lib._path()
    monkeypatch.setattr(lib, "_cpu", lambda: "elsewhere")
    assert lib._path() != here


def test_the_library_is_compiled_once_and_then_found(tmp_path):
    first, second = (python(MULTIPLY, XDG_CACHE_HOME=str(tmp_path)) for _ in range(2))
    assert first.stdout == second.stdout == "tensor([[3., 3.]])\n"
    assert "once" in first.stderr
    assert "once" not in second.stderr
    assert [path.suffix for path in (tmp_path / "unison").iterdir()] == [".so"]


PRODUCTS = """
import torch
from text.native.layers import NativeLinear
from text.native.library import lanes
torch.manual_seed(0)
x, weight, bias = torch.randn(13, 37), torch.randn(29, 37), torch.randn(29)
out = [NativeLinear(weight, bias, kind)(x) for kind in ("float32", "bfloat16", "int8")]
print(lanes(), torch.stack(out).double().square().sum().item())
"""


@pytest.mark.parametrize(("flag", "lanes"), [("-mno-avx512f", 8), ("-mno-avx", 4)])
def test_narrower_vectors_give_the_same_products(tmp_path, flag, lanes):
    if lib.lanes() <= lanes:
        pytest.skip(f"vectors of this CPU hold {lib.lanes()} floats")
    narrow = f"{' '.join(lib._command()[:1])} {flag}"
    words = python(PRODUCTS, XDG_CACHE_HOME=str(tmp_path), CXX=narrow).stdout.split()
    assert int(words[0]) == lanes
    assert float(words[1]) == pytest.approx(float(python(PRODUCTS).stdout.split()[1]), rel=1e-6)
