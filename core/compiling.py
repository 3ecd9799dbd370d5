"""torch.compile, where what it takes for granted may be missing."""

from torch import nn

from core.errors import UserError


def compile_in_place(module: nn.Module) -> None:
    """Let a module be compiled when it is first called.

    Raises:
        UserError: if there is no C++ compiler, which kernels and what starts them are built with.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UserError(
            "compile is true but there is no C++ compiler; install one (Debian: apt-get install"
            " g++), name one in CXX, or leave it out with --model.compile=false"
        ) from error
    module.compile()
