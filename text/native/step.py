"""A model's step as one call of C++."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p, pointer
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.blocks import ReLU2, SwiGLU
from text.decoder import GELU, DecoderBlock
from text.memory import Memory
from text.model import TextModel
from text.native.layers import Matrix, NativeEmbedding, NativeLinear
from text.native.library import library

EPS = torch.finfo(torch.float32).eps
"""What torch's norms add where nothing else is said, of bfloat16 too."""
RMS, LAYER = 1, 2
"""Kinds of norms in parts.h; 0 is none."""
MLPS = (ReLU2, SwiGLU, GELU)
"""Kinds of MLPs, in the order of parts.h."""


class NormStruct(ctypes.Structure):
    """`Norm` of parts.h."""

    _fields_ = (("gain", c_void_p), ("bias", c_void_p), ("eps", c_float), ("kind", c_int32))


class BlockStruct(ctypes.Structure):
    """`Block` of decoder.cpp."""

    _fields_ = (
        ("attention_norm", NormStruct),
        ("qkv", Matrix),
        ("q_norm", NormStruct),
        ("k_norm", NormStruct),
        ("out", Matrix),
        ("mlp_norm", NormStruct),
        ("up", Matrix),
        ("down", Matrix),
    )


class DecoderStruct(ctypes.Structure):
    """`Decoder` of decoder.cpp."""

    _fields_ = (
        ("embed", Matrix),
        ("embed_norm", NormStruct),
        ("places", c_void_p),
        ("blocks", POINTER(BlockStruct)),
        ("norm", NormStruct),
        ("head", Matrix),
        ("softcap", POINTER(c_float)),
        ("depth", c_int64),
        ("width", c_int64),
        ("heads", c_int64),
        ("kv_heads", c_int64),
        ("head_width", c_int64),
        ("mlp", c_int32),
    )


class MemoryStruct(ctypes.Structure):
    """`Memory` of decoder.cpp."""

    _fields_ = (
        ("keys", POINTER(c_void_p)),
        ("values", POINTER(c_void_p)),
        ("cos", c_void_p),
        ("sin", c_void_p),
        ("padding", c_void_p),
        ("rows", c_int64),
        ("slots", c_int64),
        ("length", c_int64),
        ("prefix", c_int64),
        ("last", c_int64),
        ("type", c_int32),
    )


class NativeStep:
    """Does what `TextModel.step` does, for a model of native layers that stays as it is.

    Args:
        model: One that `text.packing.to_native` has made ready.
    """

    def __init__(self, model: TextModel):
        self.model, self.vocabulary = model, model.config.vocabulary
        self._kept: list[Tensor] = []  # what the structures point at and nothing else keeps
        self._decoder = self._of_model(model)
        self._memory: Memory | None = None
        self._view = MemoryStruct()

    def __call__(self, ids: Int[Tensor, "B"], memory: Memory) -> Float[Tensor, "B V"]:
        """Read one more token a row and return the logits of the next, in float32.

        Raises:
            IndexError: if an id is none of the vocabulary's.
        """
        if memory is not self._memory:
            self._view, self._memory = _of_memory(memory), memory
        view = self._view
        assert memory.length < view.slots, "a text does not fit its memory"
        assert len(ids) == view.rows, "a memory is of one batch"
        view.length = memory.length
        ids, logits = ids.contiguous(), torch.empty(len(ids), self.vocabulary)
        read = library().unison_step(
            ctypes.byref(self._decoder), ctypes.byref(view), ids.data_ptr(), logits.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip
        if not read:
            raise IndexError(f"{ids.tolist()} are not all of the {self.vocabulary} tokens")
        for cache in memory.caches:
            cache.length += 1
        return logits

    def _of_model(self, model: TextModel) -> DecoderStruct:
        shape, blocks = model.config.attention, _blocks(model)
        embed, head = cast(NativeEmbedding, model.embed), cast(NativeLinear, model.head)
        plain = NormStruct(None, None, EPS, RMS)
        cap = model.config.softcap
        return DecoderStruct(
            embed=embed.linear.matrix(),
            embed_norm=plain if model.layout.embed_norm else NormStruct(),
            places=None if model.places is None else self._floats(model.places.weight),
            blocks=(BlockStruct * len(blocks))(*map(self._of_block, blocks)),
            norm=self._of_norm(model.norm),
            head=head.matrix(),
            softcap=None if cap is None else pointer(c_float(cap)),
            depth=len(blocks),
            width=shape.width,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_width=shape.head_width,
            mlp=MLPS.index(type(blocks[0].mlp)),
        )

    def _of_block(self, block: DecoderBlock) -> BlockStruct:
        attention, mlp = cast(Any, block.attention), cast(Any, block.mlp)
        return BlockStruct(
            self._of_norm(block.attention_norm),
            attention.qkv.matrix(),
            self._of_norm(attention.q_norm),
            self._of_norm(attention.k_norm),
            attention.out.matrix(),
            self._of_norm(block.mlp_norm),
            mlp.up.matrix(),
            mlp.out.matrix(),
        )

    def _of_norm(self, norm: nn.Module | None) -> NormStruct:
        if norm is None:
            return NormStruct()
        part = cast(Any, norm)
        eps = EPS if part.eps is None else part.eps
        layer = isinstance(norm, nn.LayerNorm)
        bias = part.bias if layer else None
        shift = None if bias is None else self._floats(bias)
        return NormStruct(self._floats(part.weight), shift, eps, LAYER if layer else RMS)

    def _floats(self, x: Tensor) -> int:
        self._kept.append(x.detach().float().contiguous())
        return self._kept[-1].data_ptr()


def _blocks(model: TextModel) -> list[DecoderBlock]:
    return [cast(DecoderBlock, block) for block in model.blocks]


def _of_memory(memory: Memory) -> MemoryStruct:
    """Return a memory as the C++ sees it."""
    keys, turns, padding = memory.caches[0].keys, memory.rotation, memory.padding
    return MemoryStruct(
        keys=_addresses([cache.keys for cache in memory.caches]),
        values=_addresses([cache.values for cache in memory.caches]),
        cos=None if turns is None else turns.cos.data_ptr(),
        sin=None if turns is None else turns.sin.data_ptr(),
        padding=None if padding is None else padding.data_ptr(),
        rows=keys.shape[0],
        slots=keys.shape[2],
        prefix=memory.prefix,
        last=memory.last,
        type=int(keys.dtype == torch.bfloat16),
    )


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[c_void_p]:
    return (c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
