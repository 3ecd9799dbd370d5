"""The decoder as two networks without state, whose memory goes in and comes out.

`Begin` makes the memory of the condition, `Read` reads tokens after what is in memory. Keys and
values of all blocks lie in one tensor each, [blocks, B, M, L, K]: M heads, L tokens, K channels.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from text.attention import KVCache
from text.memory import Memory
from text.model import TextModel

Keys = Float[Tensor, "D B M L K"]


class Growing(KVCache):
    """A cache that gets longer with what is read, where the usual one is filled up."""

    def append(
        self, k: Float[Tensor, "B M T K"], v: Float[Tensor, "B M T K"]
    ) -> tuple[Float[Tensor, "B M L2 K"], Float[Tensor, "B M L2 K"]]:
        """Put new tokens behind those stored and return all."""
        self.keys = torch.cat([self.keys, k], dim=2)
        self.values = torch.cat([self.values, v], dim=2)
        return self.keys, self.values


class Told(Memory):
    """A memory that always tells its mask: what depends on lengths must not be decided here."""

    def mask(self, tokens: int) -> Bool[Tensor, "1 1 T L"]:
        """Return which slots each new token looks at: those before it, and its own."""
        device = self.caches[0].keys.device
        slots = torch.arange(self.length + tokens, device=device)
        return (slots[None] <= slots[self.length :, None])[None, None]


class Read(nn.Module):
    """Tokens after those in memory, to the logits of the next and a longer memory."""

    def __init__(self, net: TextModel):
        super().__init__()
        self.net = net
        with torch.no_grad():
            self.rotation = net.begin(net.prefix(None, 1), net.config.context).rotation

    def forward(
        self, ids: Int[Tensor, "B T"], keys: Keys, values: Keys
    ) -> tuple[Float[Tensor, "B T V"], Keys, Keys]:
        """Return logits, keys and values."""
        length, config = keys.shape[3], self.net.config
        caches: list[KVCache] = [Growing(k, v, length) for k, v in zip(keys, values, strict=True)]
        last = config.prefix + config.context - 1
        memory = Told(caches, self.rotation, config.prefix, last)
        logits = self.net.read(ids, memory)
        return logits, *_stacked(memory)


class Begin(nn.Module):
    """The condition, to the memory that a text begins with."""

    def __init__(self, net: TextModel):
        super().__init__()
        self.net = net

    def forward(
        self, keep: Bool[Tensor, "B"], cond: Float[Tensor, "B E"] | None = None
    ) -> tuple[Keys, Keys]:
        """Return keys and values; where `keep` is False the condition is left out."""
        prefix = self.net.prefix(cond, keep.shape[0], None if cond is None else keep)
        return _stacked(self.net.begin(prefix, 0))


def nothing_read(net: TextModel, rows: int) -> Float[Tensor, "D B M 0 K"]:
    """Return the keys, or values, of an empty memory."""
    shape = net.config.attention
    return torch.zeros(net.config.depth, rows, shape.kv_heads, 0, shape.head_width)


def _stacked(memory: Memory) -> tuple[Keys, Keys]:
    keys = torch.stack([cache.keys for cache in memory.caches])
    return keys, torch.stack([cache.values for cache in memory.caches])
