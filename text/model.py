"""A decoder-only transformer over tokens, told what to write by a few condition tokens, or not.

One network serves the caption writer, language models of our own and those of other projects: a
*layout* says which norms, positions and biases a family of models has.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.errors import UserError
from text.attention import AttentionConfig, KVCache, Rotation
from text.decoder import BlockConfig, DecoderBlock, MLPKind, NormKind, build_norm
from text.memory import Memory
from text.rotary import LinearStretch, Llama3Stretch, rotary_frequencies

LayoutName = Literal["unison", "gpt2", "llama", "qwen3"]


@dataclass(frozen=True)
class Layout:
    """What tells one family of decoders from another."""

    norm: NormKind = "rms"
    """Kind of norm."""
    qk_norm: bool = False
    """Normalise queries and keys."""
    biases: bool = False
    """Projections and norms have biases."""
    rotary: bool = True
    """Positions turn queries and keys; else each has a learned vector (Radford et al. 2019)."""
    embed_norm: bool = False
    """Embeddings are normalised, without a gain, before the first block."""


LAYOUTS: dict[LayoutName, Layout] = {
    "unison": Layout(qk_norm=True, embed_norm=True),
    "gpt2": Layout(norm="layer", biases=True, rotary=False),
    "llama": Layout(),
    "qwen3": Layout(qk_norm=True),
}


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
    """Condition tokens before the text; a plain language model needs none."""
    mlp: MLPKind = "relu2"
    """Kind of MLP."""
    hidden: int | None = None
    """Channels inside the MLP; by default 4 times the width, of SwiGLU 8/3 times."""
    kv_heads: int | None = None
    """Heads of keys and values, a divisor of `heads`; by default as many."""
    head_width: int | None = None
    """Channels of a head; by default width / heads."""
    layout: LayoutName = "unison"
    """Family of models: which norms, positions and biases there are."""
    tied: bool = True
    """The head is the embedding table (Press and Wolf 2017), or a matrix of its own."""
    softcap: float | None = None
    """Bound of the logits, as softcap * tanh(logits / softcap) (Gemma Team 2024)."""
    rope_base: float = 100.0
    """Base of the rotary frequencies; contexts of thousands of tokens want 10,000 or more."""
    rope_stretch: LinearStretch | Llama3Stretch | None = None
    """How the rotary frequencies are lowered for a longer context; by default they are not."""
    eps: float | None = None
    """What the norms add to the mean square; None is the smallest that float32 tells from 1."""

    dropout: float = 0.0
    """Share of what each part of a block adds that training leaves out."""

    def __post_init__(self):
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout} but must be a share from 0 to below 1")
        for name, least in {"width": 1, "depth": 1, "heads": 1, "prefix": 0}.items():
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.context < 3:
            raise UserError(f"context is {self.context}; <bos>, a token and <eos> need 3")
        for name in ("hidden", "kv_heads", "head_width", "softcap", "rope_base", "eps"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"{name} is {value} but must be above 0, or left out")
        if self.head_width is None and self.width % self.heads:
            raise UserError(f"width {self.width} must be a multiple of the {self.heads} heads")
        if self.heads % (self.kv_heads or self.heads):
            raise UserError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        if LAYOUTS[self.layout].rotary and self.attention.head_width % 2:
            raise UserError(f"heads of {self.attention.head_width} channels must be of even width")

    @property
    def attention(self) -> AttentionConfig:
        """Shape of each attention layer."""
        layout = LAYOUTS[self.layout]
        return AttentionConfig(
            self.width,
            self.heads,
            self.kv_heads or self.heads,
            self.head_width or self.width // self.heads,
            qk_norm=layout.qk_norm,
            bias=layout.biases,
            eps=self.eps,
        )

    @property
    def block(self) -> BlockConfig:
        """Shape of each block."""
        norm = LAYOUTS[self.layout].norm
        return BlockConfig(self.attention, self.mlp, self.hidden, norm, self.dropout)


class TextModel(nn.Module):
    """Next-token logits after a prefix made from the condition, or a learned one without it.

    The prefix stands at positions -k..-1 and the text at 0, 1, ...; only text gets logits. What
    writes into the residual stream starts at zero, and so does the head or, where the head is the
    embedding table, the gain of the norm before it: the first loss is the logarithm of the
    vocabulary.

    Args:
        config: Shape of the model.
        cond_dim: Width E of the condition; 0 for a plain language model.
    """

    def __init__(self, config: TextConfig, cond_dim: int = 0):
        super().__init__()
        if cond_dim and not config.prefix:
            raise UserError("prefix is 0, but a condition needs at least 1 token to be told in")
        self.config, self.layout = config, LAYOUTS[config.layout]
        self.embed = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embed.weight, std=0.5 if self.layout.embed_norm else 0.02)
        self.null = nn.Parameter(torch.randn(config.prefix, config.width))
        self.condition = nn.Linear(cond_dim, config.prefix * config.width) if cond_dim else None
        self.places = self._learned_positions()
        self.blocks = nn.ModuleList(DecoderBlock(config.block) for _ in range(config.depth))
        self.norm = build_norm(self.layout.norm, config.attention)
        self.head = None
        if config.tied:
            for gain in self.norm.parameters():
                nn.init.zeros_(gain)
        else:
            self.head = nn.Linear(config.width, config.vocabulary, bias=False)
            nn.init.zeros_(self.head.weight)

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
        documents: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Return, at each token, the logits of the next.

        Args:
            documents: The document of each token, which then sees its own document only; for a
                model without prefix.
        """
        prefix_BPD = self.prefix(cond, len(ids), keep)
        x_BLD = torch.cat([prefix_BPD, self._embed(ids)], dim=1)
        mask = None if documents is None else self._apart(documents)
        return self._logits(self._run(x_BLD, mask=mask)[:, self.config.prefix :])

    def begin(
        self, prefix: Float[Tensor, "B P D"], length: int, dtype: torch.dtype | None = None
    ) -> Memory:
        """Return a memory that has seen the prefix and holds `length` more tokens a row."""
        shape, slots = self.config.attention, self.config.prefix + length
        size = (prefix.shape[0], shape.kv_heads, slots, shape.head_width)
        caches = [
            KVCache(prefix.new_empty(size, dtype=dtype), prefix.new_empty(size, dtype=dtype))
            for _ in self.blocks
        ]
        rotation = None
        if self.places is None:
            positions = torch.arange(slots, device=prefix.device) - self.config.prefix
            rotation = self._rotation(positions)
        last = self.config.prefix + self.config.context - 1
        memory = Memory(caches, rotation, self.config.prefix, last)
        if self.config.prefix:
            self._run(prefix, memory)
        return memory

    def read(self, ids: Int[Tensor, "B T"], memory: Memory) -> Float[Tensor, "B T V"]:
        """Read more tokens and return, at each, the logits of the next."""
        return self._logits(self._run(self._embed(ids), memory))

    def read_prompts(
        self, ids: Int[Tensor, "B T"], memory: Memory, padding: Int[Tensor, "B"]
    ) -> Float[Tensor, "B V"]:
        """Read texts of different lengths and return the logits of the token after each.

        Args:
            padding: How many tokens on the left of each row are none of its text.
        """
        memory.pad(padding)
        return self._logits(self._run(self._embed(ids), memory)[:, -1])

    def step(self, ids: Int[Tensor, "B"], memory: Memory) -> Float[Tensor, "B V"]:
        """Read one more token a row and return the logits of the next."""
        return self.read(ids[:, None], memory)[:, 0]

    def _embed(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        x = self.embed(ids)
        return F.rms_norm(x, (self.config.width,)) if self.layout.embed_norm else x

    def _run(
        self,
        x: Float[Tensor, "B T D"],
        memory: Memory | None = None,
        mask: Bool[Tensor, "B 1 T T"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Run the blocks over tokens that come after those in memory, prefix included."""
        tokens, rotation = x.shape[1], None
        if self.places is not None:
            x = x + self.places(_places(x, memory))
        elif memory is None:
            rotation = self._rotation(_places(x) - self.config.prefix)
        else:
            rotation = memory.turn(tokens)
        if memory is None:
            for block in self.blocks:
                x = block(x, rotation, mask=mask)
            return x
        mask = memory.mask(tokens)
        for block, cache in zip(self.blocks, memory.caches, strict=True):
            x = block(x, rotation, mask=mask, cache=cache)
        return x

    def _rotation(self, positions: Int[Tensor, "T"]) -> Rotation:
        config = self.config
        frequencies = rotary_frequencies(
            config.attention.head_width, config.rope_base, config.rope_stretch, positions.device
        )
        angles = positions[:, None].float() * frequencies
        return Rotation(angles.cos(), angles.sin())

    def _learned_positions(self) -> nn.Embedding | None:
        if self.layout.rotary:
            return None
        places = nn.Embedding(self.config.prefix + self.config.context, self.config.width)
        nn.init.normal_(places.weight, std=0.02)
        return places

    def _apart(self, documents: Int[Tensor, "B T"]) -> Bool[Tensor, "B 1 T T"]:
        assert not self.config.prefix, "a prefix belongs to one document"
        same = documents[:, None, :, None] == documents[:, None, None, :]
        return same.tril()

    def _logits(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        x = self.norm(x)
        logits = F.linear(x, self.embed.weight) if self.head is None else self.head(x)
        cap = self.config.softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)


def _places(x: Float[Tensor, "B T D"], memory: Memory | None = None) -> Int[Tensor, "*#B T"]:
    """Return the numbers of tokens that come after those in memory."""
    if memory is None:
        return torch.arange(x.shape[1], device=x.device)
    return memory.places(x.shape[1], x.device)
