"""The decoder's block: causal attention and an MLP, in the forms that language models use."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from core.blocks import ReLU2, SwiGLU
from text.attention import AttentionConfig, CausalAttention, KVCache, Rotation

MLPKind = Literal["relu2", "swiglu", "gelu"]
"""ReLU squared (So et al. 2021, Primer), SwiGLU (Shazeer 2020) or GELU (Hendrycks and Gimpel 2016,
in the tanh form of GPT-2)."""
NormKind = Literal["rms", "layer"]
"""RMSNorm (Zhang and Sennrich 2019) or LayerNorm (Ba et al. 2016)."""


@dataclass(frozen=True)
class BlockConfig:
    """Shape of a block."""

    attention: AttentionConfig
    """Its attention."""
    mlp: MLPKind = "relu2"
    """Kind of MLP."""
    hidden: int | None = None
    """Channels inside the MLP; by default 4 times the width, of SwiGLU 8/3 times."""
    norm: NormKind = "rms"
    """Kind of norm before each part."""
    dropout: float = 0.0
    """Share of what each part adds that training leaves out (Srivastava et al. 2014)."""


class GELU(nn.Module):
    """Two matrices with a GELU between; the output starts at zero."""

    def __init__(self, width: int, hidden: int, *, bias: bool):
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=bias)
        self.out = nn.Linear(hidden, width, bias=bias)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Map each token on its own."""
        return self.out(F.gelu(self.up(x), approximate="tanh"))


class DecoderBlock(nn.Module):
    """Pre-norm causal attention and MLP; at initialisation it is the identity."""

    def __init__(self, config: BlockConfig):
        super().__init__()
        attention = config.attention
        self.attention_norm = build_norm(config.norm, attention)
        self.attention = CausalAttention(attention)
        self.mlp_norm = build_norm(config.norm, attention)
        self.mlp = _build_mlp(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        rotation: Rotation | None,
        *,
        mask: Bool[Tensor, "#B 1 T L"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Return the tokens after one round of looking back and thinking."""
        seen = self.attention(self.attention_norm(x), rotation, mask=mask, cache=cache)
        x = x + self.dropout(seen)
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


def build_norm(kind: NormKind, config: AttentionConfig) -> nn.Module:
    """Return a norm over a token's channels."""
    if kind == "layer":
        return nn.LayerNorm(config.width, config.eps or 1e-5, bias=config.bias)
    return nn.RMSNorm(config.width, config.eps)


def _build_mlp(config: BlockConfig) -> nn.Module:
    width = config.attention.width
    match config.mlp:
        case "relu2":
            return ReLU2(width, config.hidden)
        case "swiglu":
            return SwiGLU(width, config.hidden)
        case "gelu":
            return GELU(width, config.hidden or 4 * width, bias=config.attention.bias)
