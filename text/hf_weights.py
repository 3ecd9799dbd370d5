"""Which tensors of GPT-2, Llama and Qwen3 are which of ours, in both directions, bit for bit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import UserError
from text.hf_config import FLOAT32_EPS
from text.model import TextConfig

HEAD = "lm_head.weight"
NET = "net."
"""Where a text model's checkpoint holds its network."""

Shape = tuple[int, ...]
Get = Callable[[str], Tensor]


@dataclass(frozen=True)
class Rows:
    """Several tensors stand one below the other in ours; or it is just one."""

    names: tuple[str, ...]
    rows: tuple[int, ...] | None = None
    """Of each; by default as many."""

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return shapes with fewer rows."""
        each = self.rows or (shape[0] // len(self.names),) * len(self.names)
        return {n: (r, *shape[1:]) for n, r in zip(self.names, each, strict=True)}

    def read(self, get: Get) -> Tensor:
        """Join the tensors."""
        parts = [get(name) for name in self.names]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def write(self, value: Tensor) -> dict[str, Tensor]:
        """Part the tensor."""
        rows = [shape[0] for shape in self.shapes(tuple(value.shape)).values()]
        return dict(zip(self.names, value.split(rows), strict=True))


@dataclass(frozen=True)
class Transposed:
    """A matrix that maps rows, as GPT-2's do."""

    name: str

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shape the other way round."""
        return {self.name: shape[::-1]}

    def read(self, get: Get) -> Tensor:
        """Turn the matrix."""
        return get(self.name).T.contiguous()

    def write(self, value: Tensor) -> dict[str, Tensor]:
        """Turn the matrix."""
        return {self.name: value.T.contiguous()}


@dataclass(frozen=True)
class Twice:
    """A matrix that others hold as gate and value: relu(x) * x is relu(x) squared."""

    names: tuple[str, str]

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shape for both."""
        return dict.fromkeys(self.names, shape)

    def read(self, get: Get) -> Tensor:
        """Return one of two that are equal."""
        gate, value = map(get, self.names)
        if not torch.equal(gate, value):
            raise UserError(
                f"{self.names[0]} and {self.names[1]} differ, but hidden_act relu is computed here"
                " as the square of one only; models with silu can be read"
            )
        return gate

    def write(self, value: Tensor) -> dict[str, Tensor]:
        """Return the matrix under both names."""
        return {name: value.clone() for name in self.names}


Piece = Rows | Transposed | Twice
"""How others hold one of our tensors."""


def weight_map(config: TextConfig) -> dict[str, Piece]:
    """Return, of each weight of the network that others have, where they hold it."""
    start, block = (_GPT2, _gpt2_block) if config.layout == "gpt2" else (_ROTARY, _rotary_block)
    pieces: dict[str, Piece] = dict(start)
    if not config.tied:
        pieces["head.weight"] = Rows((HEAD,))
    for i in range(config.depth):
        pieces |= {f"blocks.{i}.{name}": piece for name, piece in block(config, i).items()}
    return pieces


def unison_as_qwen3(
    config: TextConfig, weights: Mapping[str, Tensor]
) -> tuple[TextConfig, dict[str, Tensor]]:
    """Return the Qwen3 that computes the same as a model of our own layout.

    Its embeddings are ours after the norm that follows them, which sees one row at a time; the head
    stays as it was, and so becomes a matrix of its own.
    """
    assert config.layout == "unison", config.layout
    table = weights["embed.weight"]
    normed = {"embed.weight": F.rms_norm(table, (config.width,)), "head.weight": table}
    told = replace(config, layout="qwen3", tied=False, eps=config.eps or FLOAT32_EPS)
    return told, normed | {n: w for n, w in weights.items() if n != "embed.weight"}


_GPT2: dict[str, Piece] = {
    "embed.weight": Rows(("transformer.wte.weight",)),
    "places.weight": Rows(("transformer.wpe.weight",)),
    "norm.weight": Rows(("transformer.ln_f.weight",)),
    "norm.bias": Rows(("transformer.ln_f.bias",)),
}
_ROTARY: dict[str, Piece] = {
    "embed.weight": Rows(("model.embed_tokens.weight",)),
    "norm.weight": Rows(("model.norm.weight",)),
}


def _gpt2_block(config: TextConfig, i: int) -> dict[str, Piece]:
    """Queries, keys and values are together there, too."""
    at = f"transformer.h.{i}"
    matrices = {
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "mlp.up": "mlp.c_fc",
        "mlp.out": "mlp.c_proj",
    }
    norms = {"attention_norm": "ln_1", "mlp_norm": "ln_2"}
    both = (matrices | norms).items()
    pieces: dict[str, Piece] = {f"{a}.bias": Rows((f"{at}.{b}.bias",)) for a, b in both}
    pieces |= {f"{a}.weight": Transposed(f"{at}.{b}.weight") for a, b in matrices.items()}
    return pieces | {f"{a}.weight": Rows((f"{at}.{b}.weight",)) for a, b in norms.items()}


def _rotary_block(config: TextConfig, i: int) -> dict[str, Piece]:
    at, shape = f"model.layers.{i}", config.attention
    queries, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    q, k, v = (f"{at}.self_attn.{name}_proj.weight" for name in "qkv")
    gate, value = (f"{at}.mlp.{name}_proj.weight" for name in ("gate", "up"))
    pieces: dict[str, Piece] = {
        "attention_norm.weight": Rows((f"{at}.input_layernorm.weight",)),
        "attention.qkv.weight": Rows((q, k, v), (queries, kv, kv)),
        "attention.out.weight": Rows((f"{at}.self_attn.o_proj.weight",)),
        "mlp_norm.weight": Rows((f"{at}.post_attention_layernorm.weight",)),
        "mlp.up.weight": Twice((gate, value)) if config.mlp == "relu2" else Rows((gate, value)),
        "mlp.out.weight": Rows((f"{at}.mlp.down_proj.weight",)),
    }
    if shape.qk_norm:
        pieces |= {
            f"attention.{x}_norm.weight": Rows((f"{at}.self_attn.{x}_norm.weight",)) for x in "qk"
        }
    return pieces
