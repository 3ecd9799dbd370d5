"""Weights laid out for decoding, and in eight bits: linear layers replaced by faster ones.

For inference on a CPU. Measured on two cores (AMD EPYC, AVX-512, torch 2.11): LOG.md.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from text.attention import laid_out
from text.model import TextModel

DType = Literal["float32", "bfloat16"]
Quantisation = Literal["int8"]
STEPS = 127
"""Steps of an eight-bit number to either side of zero."""
REST = 2 * STEPS
"""How many times finer the second digit of an activation is than the first."""
LARGE = 250_000
"""Weights of a matrix from which on a layout of its own pays."""
TOGETHER = 8
"""Outputs that a compiled loop sums up side by side, in registers."""
SUMMED = range(9, 17)
"""Rows of float32 with which such loops take less time than oneDNN's product."""
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


class Int8Linear(nn.Module):
    """A linear layer with weights in eight bits, one scale an output channel.

    Activations keep their precision: they are two eight-bit digits, sixteen bits of the largest in
    the row, so that products are sums of integers, which CPUs with AVX-512 VNNI do four at a time.
    A row's result is bit for bit the same in any batch.
    """

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None):
        super().__init__()
        _check_cpu(weight)
        values, scale = quantised(weight)
        zeros = torch.zeros(len(scale), dtype=torch.long)
        table = torch._make_per_channel_quantized_tensor(values, scale.double(), zeros, 0)
        packed = torch.ops.quantized.linear_prepack(table, None)
        multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        self.number = _keep(lambda digits: multiply(digits, 1 / STEPS, STEPS + 1, packed))
        self.features, self.bias = len(weight), None if bias is None else bias.detach()

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias; the result has the type of `x`."""
        rows = x.flatten(0, -2).float()
        most = rows.abs().amax(-1, keepdim=True).clamp_min(1e-30)
        steps = rows * (STEPS / most)
        coarse = steps.round()
        digits = torch.cat([coarse, (steps - coarse) * REST]) * (1 / STEPS)
        high, low = _packed(digits, self.number, self.features).chunk(2)
        out = torch.add(high, low, alpha=1 / REST) * most
        out = out if self.bias is None else out + self.bias
        return out.to(x.dtype).unflatten(0, x.shape[:-1])


class Dots(nn.Module):
    """A linear layer for one row in a compiled step: each output is a dot product, written as one.

    A compiler makes plain loops of it that read the weights, of whatever type, as fast as memory
    gives them, which the libraries behind `linear` do not (LOG.md). Anywhere else it is `linear`.

    Args:
        weight: The weights, or whole numbers that are multiples of `scale`.
        bias: What is added.
        scale: One an output channel; None for 1.
    """

    weight: Tensor
    scale: Tensor | None

    def __init__(
        self,
        weight: Float[Tensor, "O I"] | Int8[Tensor, "O I"],
        bias: Float[Tensor, "O"] | None = None,
        scale: Float[Tensor, "O"] | None = None,
    ):
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("scale", scale)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias; the result has the type of `x`."""
        if torch.compiler.is_compiling() and x.numel() == x.shape[-1]:
            out = (x[..., None, :].float() * self.weight.float()).sum(dim=-1)
        else:
            out = F.linear(x, self.weight.to(x.dtype))
        out = out if self.scale is None else out * self.scale
        return (out if self.bias is None else out + self.bias).to(x.dtype)


class Sums(nn.Module):
    """A linear layer for some rows of float32 in a compiled step: products written out and summed.

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
        """Multiply, and add the bias."""
        rows = x.flatten(0, -2)
        if torch.compiler.is_compiling():
            columns = laid_out(rows.t().contiguous())
            sums = [(w[..., None] * columns).sum(dim=1) for w in self.weight.unbind(dim=2)]
            out = torch.stack(sums, dim=1).flatten(0, 1)[: self.features].t()
        else:
            out = F.linear(rows, self.weight.mT.flatten(0, 1)[: self.features])
        out = out if self.bias is None else out + self.bias
        return out.unflatten(0, x.shape[:-1])


class Int8Embedding(nn.Module):
    """A table of embeddings in eight bits, one scale a row."""

    values: Tensor
    scale: Tensor

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
    scale = weight.abs().amax(dim=1).clamp_min(1e-30) / STEPS
    return (weight / scale[:, None]).round().to(torch.int8), scale


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
        return to_int8(model, dots=compile and rows == 1)
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


def to_int8(model: TextModel, *, dots: bool = False) -> TextModel:
    """Put a model's matrices and embeddings into eight bits; it can be used for nothing else."""
    table, parts = model.embed.weight, cast(Any, model)  # parts of other types than it was made of
    head = table if model.head is None else model.head.weight
    make = _int8_dots if dots else Int8Linear
    _replace(model.blocks, lambda part: make(part.weight, part.bias))
    parts.embed, parts.head = Int8Embedding(table), make(head, None)
    return model


def _int8_dots(weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None) -> Dots:
    values, scale = quantised(weight)
    return Dots(values, bias, scale)


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
    if compile and rows in SUMMED and dtype == torch.float32:
        return Sums
    # One row of float32 waits for its weights from memory, however they lie.
    pays = rows > 1 or dtype != torch.float32

    def packed(weight: Tensor, bias: Tensor | None) -> nn.Module | None:
        return PackedLinear(weight, bias, rows) if pays and weight.numel() >= LARGE else None

    return packed


def _check_cpu(weight: Tensor) -> None:
    if weight.device.type != "cpu" or not torch.cpu._is_vnni_supported():
        raise ValueError(
            f"int8 on {weight.device.type} needs a CPU with AVX-512 VNNI, which this is not; "
            "leave --quantise out"
        )
