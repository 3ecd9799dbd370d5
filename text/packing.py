"""Weights laid out for decoding: linear layers replaced by faster ones.

For inference on a CPU. Measured on two cores (AMD EPYC, torch 2.11): LOG.md.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from core.precision import has_bfloat16
from text.model import TextModel
from text.native.layers import Kind, NativeEmbedding, NativeLinear
from text.native.step import NativeStep
from text.writing import Step

DType = Literal["float32", "bfloat16"]
Quantisation = Literal["int8"]
LARGE = 250_000
"""Weights of a matrix from which on a layout of its own pays."""


class PackedLinear(nn.Module):
    """A linear layer whose weights lie as oneDNN reads them for this many rows.

    torch lays them out anew at each call otherwise: with 16 rows, 768 channels and a vocabulary of
    50,304 that was half of the time (LOG.md).
    """

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None, rows: int):
        super().__init__()
        self.bias = None if bias is None else bias.detach()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias."""
        out = torch.ops.mkldnn._linear_pointwise(x, self.packed, None, "none", [], "")
        return out if self.bias is None else out + self.bias


def prepared(
    model: TextModel,
    rows: int,
    dtype: DType = "float32",
    quantise: Quantisation | None = None,
    *,
    native: bool = False,
) -> TextModel:
    """Make a model ready for steps of this many rows; it can be used for nothing else.

    Args:
        model: The model, whose layers are replaced.
        rows: Texts side by side.
        dtype: Type of weights and activations.
        quantise: Weights in eight bits.
        native: For a step in C++, which eight bits always have.
    """
    model = model.to(getattr(torch, dtype))
    if quantise == "int8" or native:
        return to_native(model, quantise or dtype)
    return pack(model, rows)


def quick_step(model: TextModel) -> Step | None:
    """Return what does a prepared model's step in less time; None where nothing does."""
    return NativeStep(model) if isinstance(model.head, NativeLinear) else None


def pack(model: TextModel, rows: int) -> TextModel:
    """Lay out a model's weights for steps of this many rows; it can be used for nothing else."""
    head = model.embed.weight if model.head is None else model.head.weight
    if head.device.type != "cpu":
        return model
    make = _layout(rows, head.dtype)
    _replace(model.blocks, lambda part: make(part.weight, part.bias) or part)
    cast(Any, model).head = make(head, None) or model.head  # of another type than it was made of
    return model


def to_native(model: TextModel, kind: Kind) -> TextModel:
    """Lay out a model's matrices and embeddings for C++; it can be used for inference only.

    Args:
        model: On a CPU; whatever is no matrix keeps its type.
        kind: Type of the weights.
    """
    table, parts = model.embed.weight, cast(Any, model)  # parts of other types than it was made of
    head = table if model.head is None else model.head.weight
    _replace(model.blocks, lambda part: NativeLinear(part.weight, part.bias, kind))
    parts.head = NativeLinear(head, None, kind)
    rows = parts.head if head is table else NativeLinear(table, None, kind)
    parts.embed = NativeEmbedding(rows, table.dtype)
    return model


def _replace(parent: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> None:
    for name, part in parent.named_children():
        if isinstance(part, nn.Linear):
            setattr(parent, name, make(part))
        else:
            _replace(part, make)


def _layout(rows: int, dtype: torch.dtype) -> Callable[[Tensor, Tensor | None], nn.Module | None]:
    """Return what makes a layer of a weight and a bias, and None where a plain one is as quick."""
    # One row of float32 waits for its weights from memory, however they lie.
    pays = rows > 1 if dtype == torch.float32 else has_bfloat16()

    def packed(weight: Tensor, bias: Tensor | None) -> nn.Module | None:
        return PackedLinear(weight, bias, rows) if pays and weight.numel() >= LARGE else None

    return packed
