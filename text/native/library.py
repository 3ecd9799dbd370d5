"""The C++ of this folder, compiled when it is first used: a few seconds, once a machine."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from ctypes import c_bool, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch

from core.cache_folder import cache_folders
from core.errors import UserError
from core.files import new_file

HERE = Path(__file__).parent
SOURCE = HERE / "decoder.cpp"
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-trapping-math", "-shared", "-fPIC")
WITHOUT = "stay with PyTorch: --native false, without --quantise"
"""How to do without."""


@cache
def library() -> ctypes.CDLL:
    """Return the library; compile it first where that was never done.

    Raises:
        UserError: if it must be compiled and there is no compiler, or it refuses; or if it can be
            kept nowhere.
    """
    reason = "there is no folder for it"
    for path in _places():
        try:
            return _loaded(path)
        except OSError as error:  # one that cannot be written, is full, or may hold no programs
            reason = str(error)
    raise UserError(
        f"the step in C++ can be kept nowhere ({reason}); name a folder in XDG_CACHE_HOME that can"
        f" be written and run programs, or {WITHOUT}"
    )


def at_hand() -> bool:
    """Tell whether the library works here; where only a part of what it takes is there, say why.

    Without a compiler it is quietly left out.
    """
    if shutil.which(_command()[0]) is None and not any(map(_is_there, _places())):
        return False
    try:
        library()
    except UserError as error:
        print(f"going on in PyTorch: {error}", file=sys.stderr, flush=True)
        return False
    return True


@cache
def lanes() -> int:
    """Return how many floats a vector of this CPU holds."""
    return library().unison_lanes()


def _loaded(path: Path) -> ctypes.CDLL:
    if not _is_there(path):
        _build(path)
    found = ctypes.CDLL(str(path))
    found.unison_lanes.restype = c_int64
    found.unison_multiply.argtypes = [c_void_p, c_void_p, c_int64, c_void_p, c_int64]
    found.unison_step.argtypes = [c_void_p, c_void_p, c_void_p, c_void_p, c_int64]
    found.unison_multiply.restype, found.unison_step.restype = None, c_bool
    return found


def _places() -> list[Path]:
    """Return where the library may lie: first where it does, then where it is best kept."""
    name = _name()
    return sorted((f / name for f in cache_folders()), key=lambda path: not _is_there(path))


def _is_there(path: Path) -> bool:
    return os.access(path, os.R_OK)  # False too in a folder that may not be entered


def _name() -> str:
    """Return the name of the library of these sources, for this compiler and this CPU."""
    sources = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.[ch]*"))]
    made_of = repr([sources, _command(), _cpu()])
    return f"decoder_{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.so"


def _cpu() -> str:
    return f"{platform.machine()} {sorted(torch.cpu.get_capabilities().items())}"


def _command() -> list[str]:
    arm = platform.machine() in ("aarch64", "arm64")
    threads = [] if sys.platform == "darwin" else ["-fopenmp"]  # Apple's compiler comes without
    compiler = shlex.split(os.environ.get("CXX") or "c++")
    return [*compiler, *FLAGS, "-mcpu=native" if arm else "-march=native", *threads]


def _build(path: Path) -> None:
    command = _command()
    if shutil.which(command[0]) is None:
        raise UserError(
            f"a step in C++ needs a compiler but there is no {command[0]}; install one (Debian:"
            f" apt-get install g++), name one in CXX, or {WITHOUT}"
        )
    print("compiling the decoder's step, once ...", file=sys.stderr, flush=True)
    with new_file(path) as partial:
        done = subprocess.run(
            [*command, str(SOURCE), "-o", str(partial)],
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.splitlines()
            reason = next((line for line in lines if "error" in line), "it gives no reason")
            raise UserError(
                f"{command[0]} cannot compile {SOURCE} ({reason}); name g++ 11 or clang 14 or newer"
                f" in CXX, or {WITHOUT}"
            )
