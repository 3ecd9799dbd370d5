"""How short a tokenizer makes texts: bytes and characters a token, tokens a word, tokens used."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from text.tokenizer import TextTokenizer

WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals of Han
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
"""Code points of scripts that put no space between words."""


@dataclass
class TokenCounts:
    """Texts and their tokens, without begins and ends."""

    vocabulary: int
    """Size of the tokenizer."""
    texts: int = 0
    """How many."""
    bytes: int = 0
    """Of their UTF-8."""
    characters: int = 0
    """Code points."""
    tokens: int = 0
    """Of the texts alone."""
    used: set[int] = field(default_factory=set)
    """Tokens that occur."""

    def add(self, ids: np.ndarray | Sequence[int], size: int, characters: int) -> None:
        """Count a text of so many bytes and characters."""
        self.texts += 1
        self.bytes += size
        self.characters += characters
        self.tokens += len(ids)
        self.used.update(np.unique(ids).tolist() if isinstance(ids, np.ndarray) else ids)

    @property
    def bytes_a_token(self) -> float:
        """More is shorter."""
        return self.bytes / max(1, self.tokens)

    @property
    def characters_a_token(self) -> float:
        """More is shorter."""
        return self.characters / max(1, self.tokens)

    @property
    def used_share(self) -> float:
        """Share of the tokenizer's tokens that occur."""
        return len(self.used) / self.vocabulary

    def facts(self) -> dict[str, Any]:
        """Return counts and shares as a file holds them."""
        return {
            "texts": self.texts,
            "bytes": self.bytes,
            "characters": self.characters,
            "tokens": self.tokens,
            "bytes_a_token": self.bytes_a_token,
            "characters_a_token": self.characters_a_token,
            "vocabulary": self.vocabulary,
            "used": len(self.used),
            "used_share": self.used_share,
        }

    def __str__(self) -> str:
        return (
            f"{self.bytes_a_token:.3f} bytes and {self.characters_a_token:.3f} characters a token, "
            f"{len(self.used)} of {self.vocabulary} tokens used ({self.used_share:.1%})"
        )


def count(tokenizer: TextTokenizer, texts: Iterable[str]) -> TokenCounts:
    """Encode texts and count."""
    counts = TokenCounts(len(tokenizer))
    for text in texts:
        counts.add(tokenizer.encode(text), len(text.encode()), len(text))
    return counts


def words(text: str) -> int:
    """Return how many words a text has, for tokens a word (fertility, Rust et al. 2021).

    A word is what stands between white space and holds a letter or a digit. In scripts without
    spaces between words every letter is one; the marks on it are not.
    """
    return sum(_words_of(piece) for piece in text.split())


def _words_of(piece: str) -> int:
    letters = [c for c in piece if unicodedata.category(c)[0] in "LN"]
    single = sum(map(_stands_alone, letters))
    return single + (len(letters) > single)


def _stands_alone(letter: str) -> bool:
    return letter >= "\u0e00" and any(a <= ord(letter) <= b for a, b in WITHOUT_SPACES)
