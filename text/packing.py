"""Weights laid out for decoding, and in eight bits: linear layers replaced by faster ones.

For inference on a CPU. Measured on two cores (AMD EPYC, AVX-512, torch 2.11): LOG.md.
"""

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from text.model import TextModel

STEPS = 127
"""Steps of an eight-bit number to either side of zero."""
REST = 2 * STEPS
"""How many times finer the second digit of an activation is than the first."""


class PackedLinear(nn.Module):
    """A linear layer whose weights lie as oneDNN reads them for this many rows.

    torch lays them out anew at each call otherwise: with 16 rows of 768 by 50,304 in float32 that
    was two thirds of the time.
    """

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, "O"] | None, rows: int):
        super().__init__()
        self.bias = None if bias is None else bias.detach()
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)
        self.packed = (packed,)  # in a tuple, as its layout cannot be saved or moved

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias."""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed[0], self.bias, "none", [], "")


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
        self.packed = torch.ops.quantized.linear_prepack(table, None)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Multiply, and add the bias; the result has the type of `x`."""
        rows = x.flatten(0, -2).float()
        most = rows.abs().amax(-1, keepdim=True).clamp_min(1e-30)
        steps = rows * (STEPS / most)
        coarse = steps.round()
        fine = ((steps - coarse) * REST).round_()
        digits = torch.cat([coarse, fine]).mul_(1 / STEPS)
        products = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            digits, 1 / STEPS, STEPS + 1, self.packed
        )
        high, low = products.chunk(2)
        out = torch.add(high, low, alpha=1 / REST).mul_(most)
        out = out if self.bias is None else out + self.bias
        return out.to(x.dtype).unflatten(0, x.shape[:-1])


class Int8Embedding(nn.Module):
    """A table of embeddings in eight bits, one scale a row."""

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


def pack(model: TextModel, rows: int) -> TextModel:
    """Lay out a model's weights for steps of this many rows; it can be used for nothing else."""
    head = model.embed.weight if model.head is None else model.head.weight
    _replace(model.blocks, lambda part: PackedLinear(part.weight, part.bias, rows))
    model.head = PackedLinear(head, None, rows)
    return model


def to_int8(model: TextModel) -> TextModel:
    """Put a model's matrices and embeddings into eight bits; it can be used for nothing else."""
    table = model.embed.weight
    head = table if model.head is None else model.head.weight
    _replace(model.blocks, lambda part: Int8Linear(part.weight, part.bias))
    model.embed, model.head = Int8Embedding(table), Int8Linear(head, None)
    return model


def _replace(parent: nn.Module, make) -> None:
    for name, part in parent.named_children():
        if isinstance(part, nn.Linear):
            setattr(parent, name, make(part))
        else:
            _replace(part, make)


def _check_cpu(weight: Tensor) -> None:
    if weight.device.type != "cpu" or not torch.cpu._is_vnni_supported():
        raise ValueError(
            f"int8 on {weight.device.type} needs a CPU with AVX-512 VNNI, which this is not; "
            "leave --quantise out"
        )
