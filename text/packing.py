"""Weights laid out for decoding: linear layers replaced by faster ones.

For inference on a CPU. Measured on two cores (AMD EPYC, torch 2.11): LOG.md.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from core.precision import has_bfloat16
from text.attention import laid_out
from text.int8 import Int8Embedding, Int8Linear
from text.model import TextModel

DType = Literal["float32", "bfloat16"]
Quantisation = Literal["int8"]
LARGE = 250_000
"""Weights of a matrix from which on a layout of its own pays."""
TOGETHER = 8
"""Outputs that a compiled loop sums up side by side, in registers."""
SUMMED = range(9, 17)
"""Rows with which such loops take less time than oneDNN's product: of float32, and of bfloat16 on a
CPU that has no instructions for it."""
_KEPT: list[Callable[[Tensor], Tensor]] = []  # compiled graphs cannot hold packed weights: a number


_LIBRARY = torch.library.Library("unison", "DEF")
_LIBRARY.define("packed(Tensor x, int number, int features) -> Tensor")
_LIBRARY.impl("packed", lambda x, number, features: _KEPT[number](x), "CPU")
torch.library.register_fake(
    "unison::packed", lambda x, number, features: x.new_empty((*x.shape[:-1], features))
)


def _packed(x: Tensor, number: int, features: int) -> Tensor:
    """Multiply rows by packed weights."""
    if torch.compiler.is_compiling():
        return torch.ops.unison.packed(x, number, features)
    return _KEPT[number](x)


def _keep(multiply: Callable[[Tensor], Tensor]) -> int:
    _KEPT.append(multiply)
    return len(_KEPT) - 1


class PackedLinear(nn.Module):
    """A linear layer whose weights lie as oneDNN reads them for this many rows.

    torch lays them out anew at each call otherwise: with 16 rows, 768 channels and a vocabulary of
    50,304 that was half of the time (LOG.md).
    """

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None, rows: int):
        super().__init__()
        self.features, self.bias = len(weight), None if bias is None else bias.detach()
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)
        self.number = _keep(
            lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
        )

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias."""
        out = _packed(x, self.number, self.features)
        return out if self.bias is None else out + self.bias


class Dots(nn.Module):
    """A linear layer for one row in a compiled step: each output is a dot product, written as one.

    A compiler makes plain loops of it that read the weights, of whatever type, as fast as memory
    gives them, which the libraries behind `linear` do not (LOG.md). Anywhere else it is `linear`.
    """

    weight: Float[Tensor, "O I"]

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None):
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias; the result has the type of `x`."""
        if torch.compiler.is_compiling() and x.numel() == x.shape[-1]:
            row = laid_out(x.float())  # else each output would take the norm of the row again
            out = (row[..., None, :] * self.weight.float()).sum(dim=-1)
        else:
            out = F.linear(x, self.weight)
        return (out if self.bias is None else out + self.bias).to(x.dtype)


class Sums(nn.Module):
    """A linear layer for some rows in a compiled step: products written out and summed in float32.

    A loop over the inputs has the rows' sums for `TOGETHER` outputs in registers and reads their
    weights, which lie side by side, in order. Anywhere else it is `linear`.
    """

    weight: Float[Tensor, "O2 I G"]

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None):
        super().__init__()
        self.features, self.bias = len(weight), None if bias is None else bias.detach()
        whole = F.pad(weight.detach(), (0, 0, 0, -len(weight) % TOGETHER))
        self.register_buffer("weight", whole.unflatten(0, (-1, TOGETHER)).mT.contiguous())

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias; the result has the type of `x`."""
        rows = x.flatten(0, -2)
        if torch.compiler.is_compiling():
            columns = laid_out(rows.float().t().contiguous())
            weights = [w[..., None].float() for w in self.weight.unbind(dim=2)]
            sums = [(w * columns).sum(dim=1) for w in weights]
            out = torch.stack(sums, dim=1).flatten(0, 1)[: self.features].t().to(x.dtype)
        else:
            out = F.linear(rows, self.weight.mT.flatten(0, 1)[: self.features])
        out = out if self.bias is None else out + self.bias
        return out.unflatten(0, x.shape[:-1])


def prepared(
    model: TextModel,
    rows: int,
    dtype: DType = "float32",
    quantise: Quantisation | None = None,
    *,
    compile: bool = False,
) -> TextModel:
    """Make a model ready for steps of this many rows; it can be used for nothing else.

    Args:
        model: The model, whose layers are replaced.
        rows: Texts side by side.
        dtype: Type of weights and activations.
        quantise: Weights in eight bits.
        compile: Whether the step will be compiled.
    """
    model = model.to(getattr(torch, dtype))
    if quantise == "int8":
        return to_int8(model)
    return pack(model, rows, compile=compile)


def pack(model: TextModel, rows: int, *, compile: bool = False) -> TextModel:
    """Lay out a model's weights for steps of this many rows; it can be used for nothing else."""
    head = model.embed.weight if model.head is None else model.head.weight
    if head.device.type != "cpu":
        return model
    make = _layout(rows, head.dtype, compile=compile)
    _replace(model.blocks, lambda part: make(part.weight, part.bias) or part)
    cast(Any, model).head = make(head, None) or model.head  # of another type than it was made of
    return model


def to_int8(model: TextModel) -> TextModel:
    """Put a model's matrices and embeddings into eight bits; it can be used for nothing else."""
    table, parts = model.embed.weight, cast(Any, model)  # parts of other types than it was made of
    head = table if model.head is None else model.head.weight
    _replace(model.blocks, lambda part: Int8Linear(part.weight, part.bias))
    parts.embed, parts.head = Int8Embedding(table), Int8Linear(head, None)
    if head is table:
        parts.embed.values = parts.head.values
    return model


def _replace(parent: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> None:
    for name, part in parent.named_children():
        if isinstance(part, nn.Linear):
            setattr(parent, name, make(part))
        else:
            _replace(part, make)


def _layout(
    rows: int, dtype: torch.dtype, *, compile: bool
) -> Callable[[Tensor, Tensor | None], nn.Module | None]:
    """Return what makes a layer of a weight and a bias, and None where a plain one is as quick."""
    if compile and rows == 1:
        return Dots
    whole, half = dtype == torch.float32, has_bfloat16()
    if compile and rows in SUMMED and (whole or not half):
        return Sums
    # One row of float32 waits for its weights from memory, however they lie.
    pays = rows > 1 if whole else half

    def packed(weight: Tensor, bias: Tensor | None) -> nn.Module | None:
        return PackedLinear(weight, bias, rows) if pays and weight.numel() >= LARGE else None

    return packed
