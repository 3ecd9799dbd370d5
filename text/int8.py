"""Weights in eight bits, for inference on a CPU: a quarter of the memory, and of its traffic.

The product is an operation in C++, `int8.cpp`, which is compiled when it is first used.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from core.files import new_file

LARGEST = 127
"""Largest eight-bit number on either side of zero."""
SOURCE = Path(__file__).with_suffix(".cpp")


class Int8Linear(nn.Module):
    """A linear layer with weights in eight bits, one scale an output channel.

    Activations keep their precision: each row becomes whole numbers of up to sixteen bits. A row's
    result is bit for bit the same in any batch, with any threads, compiled or not.

    Raises:
        ValueError: if there is no CPU, or no compiler, to do it with.
    """

    values: Int8[Tensor, "O I"]
    scale: Float[Tensor, "O"]

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None):
        super().__init__()
        if weight.device.type != "cpu":
            raise ValueError(
                f"int8 works on a CPU but the weights lie on {weight.device.type}; leave --quantise"
                " out"
            )
        load_product()
        values, scale = quantised(weight)
        self.register_buffer("values", values)
        self.register_buffer("scale", scale)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias; the result has the type of `x`."""
        rows = x.flatten(0, -2).float()
        out = torch.ops.unison_int8.linear(rows, self.values, self.scale)
        out = out if self.bias is None else out + self.bias
        return out.to(x.dtype).unflatten(0, x.shape[:-1])


class Int8Embedding(nn.Module):
    """A table of embeddings in eight bits, one scale a row."""

    values: Int8[Tensor, "V D"]
    scale: Float[Tensor, "V"]

    def __init__(self, weight: Float[Tensor, "V D"]):
        super().__init__()
        values, scale = quantised(weight)
        self.register_buffer("values", values)
        self.register_buffer("scale", scale.to(weight.dtype))

    def forward(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """Look up."""
        return self.values[ids].to(self.scale.dtype) * self.scale[ids][..., None]


def quantised(weight: Float[Tensor, "O I"]) -> tuple[Int8[Tensor, "O I"], Float[Tensor, "O"]]:
    """Return weights as whole numbers from -127 to 127, and what each row's are multiples of."""
    weight = weight.detach().float()
    scale = weight.abs().amax(dim=1).clamp_min(1e-30) / LARGEST
    return (weight / scale[:, None]).round().to(torch.int8), scale


@cache
def load_product() -> None:
    """Make torch.ops.unison_int8.linear available; compile it first where that was never done.

    Raises:
        ValueError: if it must be compiled and there is no compiler.
    """
    library = _library()
    if library.exists():
        torch.ops.load_library(str(library))
    else:
        _build(library)
    torch.library.register_fake(
        "unison_int8::linear", lambda x, weight, steps: x.new_empty(len(x), len(weight))
    )


def _library() -> Path:
    """Return where the compiled product lies: of this source, for this torch and this CPU."""
    made_of = f"{SOURCE.read_text()} {torch.__version__} {sorted(_cpu().items())}"
    root = os.environ.get("TORCH_EXTENSIONS_DIR", Path.home() / ".cache" / "torch_extensions")
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    return Path(root) / "unison" / f"int8_{digest}.so"


def _cpu() -> dict[str, object]:
    return dict(torch.cpu.get_capabilities())


def _build(library: Path) -> None:
    from torch.utils import cpp_extension

    compiler = cpp_extension.get_cxx_compiler()
    if shutil.which(compiler) is None:
        raise ValueError(
            f"int8 needs a C++ compiler but there is no {compiler}; install one (Debian: apt-get"
            " install g++), name one in CXX, or leave --quantise out"
        )
    print("compiling the eight-bit product, once ...", file=sys.stderr, flush=True)
    native = "-mcpu=native" if _cpu().get("architecture") == "aarch64" else "-march=native"
    # Built apart and then moved: torch waits for ever at the lock of a build that was killed.
    with new_file(library) as partial, tempfile.TemporaryDirectory() as folder, _ninja_found():
        cpp_extension.load(
            library.stem, [str(SOURCE)], extra_cflags=["-O3", native],
            build_directory=folder, is_python_module=False,
        )  # fmt: skip
        shutil.copy(Path(folder) / f"{library.stem}.so", partial)


@contextmanager
def _ninja_found() -> Iterator[None]:
    """Let torch find the ninja that was installed with us, also where no environment is active."""
    import ninja

    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{ninja.BIN_DIR}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before
