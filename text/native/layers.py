"""Linear layers and tables whose weights lie as the C++ of this folder reads them."""

import ctypes
from ctypes import c_int32, c_int64, c_void_p
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from core.errors import UserError
from text.native.library import WITHOUT, lanes, library

Kind = Literal["float32", "bfloat16", "int8"]
"""Type of weights."""
A_WORD: dict[Kind, int] = {"float32": 1, "bfloat16": 2, "int8": 4}
"""Weights that share 32 bits."""
LARGEST = 127
"""Largest eight-bit number on either side of zero."""


class Matrix(ctypes.Structure):
    """`Matrix` of products.h."""

    _fields_ = (
        ("weights", c_void_p),
        ("steps", c_void_p),
        ("bias", c_void_p),
        ("outputs", c_int64),
        ("inputs", c_int64),
        ("type", c_int32),
    )


class NativeLinear(nn.Module):
    """A linear layer for inference on a CPU, with weights in 32, 16 or 8 bits.

    Activations and sums are float32; beside eight-bit weights each row becomes whole numbers of up
    to sixteen bits, whose sums are exact. A row's result is bit for bit the same in any batch and
    with any threads.

    Args:
        weight: Weights.
        bias: Bias, if there is one.
        kind: Type in which the weights are kept; eight-bit weights have a scale an output.

    Raises:
        ValueError: if there is no CPU, or no compiler, to do it with.
    """

    words: Tensor
    steps: Float[Tensor, "O2"] | None
    bias: Float[Tensor, "O2"] | None

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None, kind: Kind):
        super().__init__()
        if weight.device.type != "cpu":
            raise UserError(
                f"the step in C++ works on a CPU but the weights lie on {weight.device.type};"
                f" {WITHOUT}"
            )
        self.kind: Kind = kind
        self.outputs, self.inputs = weight.shape
        steps = None
        if kind == "int8":
            numbers, steps = quantised(weight)
        else:
            numbers = weight.detach().to(getattr(torch, kind))
        self.register_buffer("words", _laid_out(numbers, A_WORD[kind]))
        self.register_buffer("steps", None if steps is None else _whole_blocks(steps))
        self.register_buffer("bias", None if bias is None else _whole_blocks(bias.detach().float()))

    def matrix(self) -> Matrix:
        """Return what the C++ sees of it, which must not outlive it."""
        steps, bias = (None if x is None else x.data_ptr() for x in (self.steps, self.bias))
        kind = list(A_WORD).index(self.kind)
        return Matrix(self.words.data_ptr(), steps, bias, self.outputs, self.inputs, kind)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias; the result has the type of `x`."""
        rows = x.detach().flatten(0, -2).float().contiguous()
        out = rows.new_empty(len(rows), self.outputs)
        library().unison_multiply(
            ctypes.byref(self.matrix()), rows.data_ptr(), len(rows), out.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip
        return out.to(x.dtype).unflatten(0, x.shape[:-1])

    def rows(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B I"]:
        """Return the weights of some outputs."""
        words = self.words[ids // lanes(), :, ids % lanes()].flatten(-2)[..., : self.inputs]
        return words.float() if self.steps is None else words.float() * self.steps[ids][..., None]


class NativeEmbedding(nn.Module):
    """A table of embeddings that are a layer's weights; the two may be one, a tied head.

    Args:
        linear: The layer.
        dtype: Type of what is looked up.
    """

    def __init__(self, linear: NativeLinear, dtype: torch.dtype):
        super().__init__()
        self.linear, self.dtype = linear, dtype

    def forward(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """Look up."""
        return self.linear.rows(ids).to(self.dtype)


def quantised(weight: Float[Tensor, "O I"]) -> tuple[Int8[Tensor, "O I"], Float[Tensor, "O"]]:
    """Return weights as whole numbers from -127 to 127, and what each row's are multiples of."""
    weight = weight.detach().float()
    scale = weight.abs().amax(dim=1).clamp_min(1e-30) / LARGEST
    return (weight / scale[:, None]).round().to(torch.int8), scale


def _laid_out(numbers: Tensor, a_word: int) -> Tensor:
    """Return [O, I] as blocks of words, filled up with zeros: [blocks, words, lanes, a_word]."""
    outputs, inputs = numbers.shape
    whole = F.pad(numbers, (0, -inputs % a_word, 0, -outputs % lanes()))
    return rearrange(whole, "(b l) (w k) -> b w l k", l=lanes(), k=a_word).contiguous()


def _whole_blocks(x: Float[Tensor, "O"]) -> Float[Tensor, "O2"]:
    return F.pad(x, (0, -len(x) % lanes())).contiguous()
