"""A model's step as one compiled graph: the operations between matrices are fused."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from text.attention import KVCache, Rotation
from text.memory import Memory
from text.model import TextModel


class CompiledStep:
    """Does what `TextModel.step` does.

    One graph serves every length of text; another number of rows, or texts with padding after some
    without, are compiled anew. The first step takes a minute or two.
    """

    def __init__(self, model: TextModel):
        self.model = model
        self._run = torch.compile(self._step, dynamic=True, fullgraph=True)
        self._memory: Memory | None = None
        self._arguments: tuple[Any, ...] = ()

    def __call__(self, ids: Int[Tensor, "B"], memory: Memory) -> Float[Tensor, "B V"]:
        """Read one more token a row and return the logits of the next."""
        if memory is not self._memory:
            self._arguments, self._memory = _arguments(memory), memory
        torch._dynamo.mark_static(ids)
        with torch.no_grad():
            logits = self._run(ids, memory.length, *self._arguments)
        for cache in memory.caches:
            cache.length += 1
        return logits

    def _step(
        self,
        ids: Int[Tensor, "B"],
        length: int,
        keys: Sequence[Float[Tensor, "B M L K"]],
        values: Sequence[Float[Tensor, "B M L K"]],
        turns: tuple[Float[Tensor, "L K2"], Float[Tensor, "L K2"]] | None,
        filled: tuple[Int[Tensor, "B"] | None, Bool[Tensor, "B L"] | None],
    ) -> Float[Tensor, "B V"]:
        caches = [KVCache(k, v, length) for k, v in zip(keys, values, strict=True)]
        rotation = None if turns is None else Rotation(*turns)
        config = self.model.config
        last = config.prefix + config.context - 1
        return self.model.step(ids, Memory(caches, rotation, config.prefix, last, *filled))


def _arguments(memory: Memory) -> tuple[Any, ...]:
    """Return a memory as a graph takes it: tensors, of sizes that never change."""
    keys = [cache.keys for cache in memory.caches]
    values = [cache.values for cache in memory.caches]
    turns = None if memory.rotation is None else (memory.rotation.cos, memory.rotation.sin)
    filled = (memory.padding, memory.visible)
    for tensor in (*keys, *values, *(turns or ()), *filled):
        if tensor is not None:
            torch._dynamo.mark_static(tensor)
    return keys, values, turns, filled
