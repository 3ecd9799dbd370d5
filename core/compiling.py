"""torch.compile where a container lacks what it takes for granted: a user's name, a compiler."""

import getpass
import os

from torch import nn

from core.cache_folder import cache_folder
from core.errors import UserError


def compile_in_place(module: nn.Module) -> None:
    """Let a module be compiled when it is first called.

    Raises:
        UserError: if there is no C++ compiler, which kernels and what starts them are built with.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    _settle_cache()
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UserError(
            "compile is true but there is no C++ compiler; install one (Debian: apt-get install"
            " g++), name one in CXX, or leave it out with --model.compile=false"
        ) from error
    module.compile()


def _settle_cache() -> None:
    """Name the folder of compiled code for a user whose name torch would name it by."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # no line of passwd; OSError from Python 3.13 on
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor"))
