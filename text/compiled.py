"""A model's step as one compiled graph: the operations between matrices are fused."""

from collections.abc import Callable, Sequence
from itertools import count
from types import FunctionType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from text.attention import KVCache, Rotation
from text.memory import Memory
from text.model import TextModel

_NUMBERS = count()


class CompiledStep:
    """Does what `TextModel.step` does, for a model that stays as it is.

    One graph serves every length of text; another number of rows, or texts with padding after some
    without, are compiled anew. The first step takes a minute or two.
    """

    def __init__(self, model: TextModel):
        self.model = model
        options: Any = {"cpp_wrapper": True, "guard_filter_fn": _of_arguments}
        self._run = torch.compile(_apart(_step), dynamic=True, fullgraph=True, options=options)
        # Numbers such as a norm's eps are part of the graph; else each call checks them again.
        self._settings = torch._dynamo.config.patch(specialize_float=True)
        self._memory: Memory | None = None
        self._arguments: tuple[Any, ...] = ()

    def __call__(self, ids: Int[Tensor, "B"], memory: Memory) -> Float[Tensor, "B V"]:
        """Read one more token a row and return the logits of the next."""
        if memory is not self._memory:
            self._arguments, self._memory = _arguments(memory), memory
        torch._dynamo.mark_static(ids)
        with torch.no_grad(), self._settings:
            logits = self._run(self.model, ids, memory.length, *self._arguments)
        for cache in memory.caches:
            cache.length += 1
        return logits


def _step(
    model: TextModel,
    ids: Int[Tensor, "B"],
    length: int,
    keys: Sequence[Float[Tensor, "B M L K"]],
    values: Sequence[Float[Tensor, "B M L K"]],
    turns: tuple[Float[Tensor, "L K2"], Float[Tensor, "L K2"]] | None,
    filled: tuple[Int[Tensor, "B"] | None, Bool[Tensor, "B L"] | None],
) -> Float[Tensor, "B V"]:
    caches = [KVCache(k, v, length) for k, v in zip(keys, values, strict=True)]
    rotation = None if turns is None else Rotation(*turns)
    last = model.config.prefix + model.config.context - 1
    return model.step(ids, Memory(caches, rotation, model.config.prefix, last, *filled))


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


def _of_arguments(guards: Sequence[Any]) -> list[bool]:
    """Choose what each call checks again: its arguments, and not the model, which stays as it is.

    A thousand checks of a model's parts took a quarter of the time of a small one (LOG.md).
    """
    return [not guard.is_global and "model" not in guard.name for guard in guards]


def _apart(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a function of its own code, with which torch keeps what it has compiled.

    Two models would share a graph otherwise, as it no longer checks whose it is.
    """
    code = function.__code__.replace(co_name=f"step_{next(_NUMBERS)}")
    return FunctionType(code, function.__globals__)
