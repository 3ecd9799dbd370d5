"""A decoder-only transformer over tokens, told what to write by a few condition tokens."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.attention import KVCache, rotary_angles
from core.blocks import Block, MLPKind


@dataclass(frozen=True)
class TextConfig:
    """Shape of the text model."""

    width: int = 128
    """Channels a token."""
    depth: int = 4
    """Blocks."""
    heads: int = 4
    """Attention heads a block."""
    context: int = 64
    """Tokens at most, `<bos>` and `<eos>` among them, the prefix not."""
    vocabulary: int = 512
    """Rows of the embedding table: at least the tokenizer's tokens."""
    prefix: int = 4
    """Condition tokens before the text."""
    mlp: MLPKind = "relu2"
    """Kind of MLP."""

    def __post_init__(self):
        for name in ("width", "depth", "heads", "prefix"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.context < 3:
            raise ValueError(f"context is {self.context}; <bos>, a token and <eos> need 3")


class TextModel(nn.Module):
    """Next-token logits after a prefix made from the condition, or a learned one without it.

    The prefix stands at positions -k..-1 and the text at 0, 1, ...; only text gets logits. The head
    is the embedding table (Press and Wolf 2017) behind a norm whose gain starts at zero, so
    that the first loss is exactly the logarithm of the vocabulary.

    Args:
        config: Shape of the model.
        cond_dim: Width E of the condition; 0 for a plain language model.
    """

    def __init__(self, config: TextConfig, cond_dim: int = 0):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embed.weight, std=0.5)
        self.null = nn.Parameter(torch.randn(config.prefix, config.width))
        self.condition = nn.Linear(cond_dim, config.prefix * config.width) if cond_dim else None
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, mlp=config.mlp, causal=True)
            for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(config.width)
        nn.init.zeros_(self.norm.weight)

    def prefix(
        self, cond: Float[Tensor, "B E"] | None, batch: int, keep: Bool[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B P D"]:
        """Return the condition tokens; where `keep` is False or `cond` None, the learned ones."""
        null_BPD = repeat(self.null, "P D -> B P D", B=batch)
        if cond is None:
            return null_BPD
        assert self.condition is not None, "this model was built without a condition"
        # A unit vector has small entries: scale them to the size that a linear layer expects.
        told = self.condition(cond * cond.shape[1] ** 0.5)
        told_BPD = rearrange(told, "B (P D) -> B P D", P=self.config.prefix)
        return told_BPD if keep is None else torch.where(keep[:, None, None], told_BPD, null_BPD)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        cond: Float[Tensor, "B E"] | None = None,
        *,
        keep: Bool[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Return, at each token, the logits of the next."""
        prefix_BPD = self.prefix(cond, len(ids), keep)
        x_BLD = torch.cat([prefix_BPD, self._embed(ids)], dim=1)
        return self._logits(self._run(x_BLD, start=0)[:, self.config.prefix :])

    def begin(self, prefix: Float[Tensor, "B P D"], length: int) -> list[KVCache]:
        """Return caches, one a block, that have seen the prefix and hold `length` more tokens."""
        heads, width = self.config.heads, self.config.width // self.config.heads
        shape = (len(prefix), heads, self.config.prefix + length, width)
        caches = [KVCache(prefix.new_empty(shape), prefix.new_empty(shape)) for _ in self.blocks]
        self._run(prefix, start=0, caches=caches)
        return caches

    def step(self, ids: Int[Tensor, "B"], caches: list[KVCache]) -> Float[Tensor, "B V"]:
        """Read one more token a row and return the logits of the next."""
        x_BTD = self._run(self._embed(ids[:, None]), start=caches[0].length, caches=caches)
        return self._logits(x_BTD)[:, 0]

    def _embed(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return F.rms_norm(self.embed(ids), (self.config.width,))

    def _run(
        self, x: Float[Tensor, "B T D"], start: int, caches: list[KVCache] | None = None
    ) -> Float[Tensor, "B T D"]:
        """Run the blocks over tokens of which the first is number `start`, prefix included."""
        config = self.config
        positions = torch.arange(start, start + x.shape[1], device=x.device) - config.prefix
        angles = rotary_angles(positions[:, None], config.width // config.heads)
        for i, block in enumerate(self.blocks):
            x = block(x, angles, cache=caches[i] if caches else None)
        return x

    def _logits(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T V"]:
        return F.linear(self.norm(x), self.embed.weight)
