"""The text tower: a caption, or a part of one, to a point on the shared sphere."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.attention import rotary_angles
from core.blocks import Block, MLPKind
from core.errors import UserError
from core.noise import uniform
from text.files import as_texts
from text.tokenizer import PAD, TextCodec
from text.tower_tokenizer import tower_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class TextEncoderConfig:
    """Shape of the text tower, and how its input is varied while it learns."""

    embedding: int = 64
    """Width of the shared space."""
    width: int = 128
    """Channels a token."""
    depth: int = 2
    """Blocks."""
    heads: int = 4
    """Attention heads a block."""
    context: int = 64
    """Tokens at most; what follows is not read."""
    vocabulary: int = 512
    """Tokens of the byte-pair encoding at most."""
    mlp: MLPKind = "relu2"
    """Kind of MLP."""
    shuffle: float = 0.3
    """Share of training texts whose words change places."""
    drop: float = 0.05
    """Share of training words left out."""
    babble: float = 0.5
    """Share of training texts with a made-up word in them: strange words must be ignored."""

    def __post_init__(self):
        for name in ("embedding", "width", "depth", "heads", "context"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("shuffle", "drop", "babble"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be in [0, 1)")


class TextEncoder(nn.Module):
    """Bidirectional transformer over lower-case words, averaged over real tokens.

    Call `fit` with the training texts first; before that it reads bytes, which costs more.
    """

    def __init__(self, config: TextEncoderConfig = TextEncoderConfig()):
        super().__init__()
        self.config = config
        self.codec = TextCodec(config.vocabulary)
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, mlp=config.mlp) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(config.width)
        self.project = nn.Linear(config.width, config.embedding)

    def fit(self, texts: Iterable[str]) -> None:
        """Learn the tokenizer's merges from training texts."""
        self.codec.fit(" ".join(words(text)) for text in as_texts(texts))

    def forward(
        self, texts: Sequence[str], seeds: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B E"]:
        """Return unit-norm embeddings; with seeds, and in training mode, of varied wordings."""
        rows = [words(text) for text in as_texts(texts)]
        if self.training and seeds is not None:
            rows = vary(rows, seeds, self.config)
        ids = self.codec.encode([" ".join(row) for row in rows], self.config.context)
        return self.read(ids.to(self.embed.weight.device))

    def tokenizer_json(self) -> str:
        """Return a tokenizer.json that gives the rows of tokens that `read` takes."""
        return tower_tokenizer(self.codec.tokenizer, self.config.context)

    def read(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B E"]:
        """Return unit-norm embeddings of rows of the codec's tokens, filled up with `PAD`."""
        real_BT = ids != PAD
        mask = rearrange(real_BT, "B L -> B 1 1 L").expand(-1, -1, ids.shape[1], -1)
        positions = torch.arange(ids.shape[1], device=ids.device)[:, None]
        angles = rotary_angles(positions, self.config.width // self.config.heads)
        x_BTD = F.rms_norm(self.embed(ids), (self.config.width,))
        for block in self.blocks:
            x_BTD = block(x_BTD, angles, mask=mask)
        weight_BT1 = real_BT[..., None] / real_BT.sum(1)[:, None, None]
        pooled_BD = (self.norm(x_BTD) * weight_BT1).sum(1)
        return F.normalize(self.project(pooled_BD), dim=-1)


def words(text: str) -> list[str]:
    """Return the words of a text: lower case, without punctuation."""
    found = re.findall(r"\w+(?:['\u2019]\w+)*", text.lower())
    if not found:
        raise UserError(f"the text {text[:40]!r} holds no word; write at least one, as in 'seven'")
    return found


def vary(
    rows: list[list[str]], seeds: Int[Tensor, "B"], config: TextEncoderConfig
) -> list[list[str]]:
    """Leave out words, put in made-up ones, change places: a pure function of one seed a text."""
    # Words first, so that a longer neighbour changes no draw.
    of_words = uniform(seeds, (max(map(len, rows)), 2), stream=7).tolist()
    of_texts = uniform(seeds, (4,), stream=8).tolist()
    return [_vary(*each, config) for each in zip(rows, of_words, of_texts, strict=True)]


def _vary(
    row: list[str], of_words: list[list[float]], of_text: list[float], config: TextEncoderConfig
) -> list[str]:
    drops, places = zip(*of_words, strict=True)
    shuffle, babble, where, spelling = of_text
    kept = [i for i in range(len(row)) if drops[i] >= config.drop] or [int(where * len(row))]
    if shuffle < config.shuffle:
        kept.sort(key=places.__getitem__)
    varied = [row[i] for i in kept]
    if babble < config.babble:
        varied.insert(int(where * (len(varied) + 1)), _babble(spelling))
    return varied


def _babble(draw: float) -> str:
    """Return two to five letters: the digits of a number to base 26."""
    number = int(draw * 26**5)
    letters = [LETTERS[number // 26**place % 26] for place in range(5)]
    return "".join(letters[: 2 + number % 4])
