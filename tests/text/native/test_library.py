"""Claims about how the C++ is compiled and found again."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from core import cache_folder
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
    here = lib._name()
    monkeypatch.setattr(lib, "_cpu", lambda: "elsewhere")
    assert lib._name() != here


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Return the folder of the cache, in which nothing is yet; compiling is a copy."""
    folder = tmp_path / "cache"
    whole = lib._places()[0]
    lib.library()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(lib, "_build", lambda path: copied(whole, path))
    for cached in (cache_folder._temporary, lib.library):
        cached.cache_clear()
    yield folder
    for cached in (cache_folder._temporary, lib.library):
        cached.cache_clear()


def copied(whole, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(whole, path)


def libraries(folder):
    return sorted(str(p.relative_to(folder).parts[0]) for p in folder.rglob("*.so"))


def test_a_library_that_cannot_be_loaded_is_made_in_the_next_folder(compiled):
    (compiled / "unison").mkdir(parents=True)
    (compiled / "unison" / lib._name()).write_bytes(b"half")
    assert lib.library().unison_lanes() == lib.lanes()
    assert libraries(compiled.parent) == ["cache", "tmp"]


def test_a_cache_that_takes_no_files_keeps_the_library_in_a_temporary_folder(compiled):
    compiled.write_text("no folder")
    assert lib.at_hand()
    assert libraries(compiled.parent) == ["tmp"]


def test_a_library_is_found_where_it_lies_before_it_is_made_anew(compiled, monkeypatch):
    compiled.write_text("no folder")
    lib.library()
    compiled.unlink()
    lib.library.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(lib, "_name", lambda: next((compiled.parent / "tmp").rglob("*.so")).name)
    assert lib.at_hand()
    assert libraries(compiled.parent) == ["tmp"]


def test_a_library_that_can_be_kept_nowhere_is_left_out_with_a_line(compiled, monkeypatch, capsys):
    monkeypatch.setattr(lib, "cache_folders", lambda: iter([Path("/proc/none")]))
    assert not lib.at_hand()
    assert "name a folder in XDG_CACHE_HOME" in capsys.readouterr().err


def test_where_a_compiler_refuses_there_is_a_line_and_no_library(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lib, "cache_folders", lambda: iter([tmp_path]))
    monkeypatch.setattr(lib, "library", lib.library.__wrapped__)
    monkeypatch.setenv("CXX", "false")
    assert not lib.at_hand()
    assert "going on in PyTorch: false cannot compile" in capsys.readouterr().err


def test_without_a_compiler_the_library_is_quietly_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lib, "cache_folders", lambda: iter([tmp_path]))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not lib.at_hand()
    assert capsys.readouterr().err == ""


def test_an_empty_name_of_a_compiler_is_the_usual_one(monkeypatch):
    monkeypatch.setenv("CXX", "")
    assert lib._command()[0] == "c++"


@pytest.mark.slow  # compiles
@pytest.mark.parametrize("home", ["/proc/nohome", "/dev/null"])
def test_without_a_home_the_library_is_compiled_in_a_temporary_folder(home, tmp_path):
    places = {"HOME": home, "XDG_CACHE_HOME": "", "TMPDIR": str(tmp_path)}
    assert python(MULTIPLY, **places).stdout == "tensor([[3., 3.]])\n"
    assert len(list(tmp_path.rglob("*.so"))) == 1


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
