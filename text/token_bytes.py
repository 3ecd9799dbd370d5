"""How many bytes of text each token stands for, so that any window of tokens knows its bytes."""

import re

import torch
from jaxtyping import Int64
from torch import Tensor

from core.errors import UserError
from text.tokenizer import TextTokenizer

SPELLED = re.compile(r"<0x[0-9A-F]{2}>")
SPACE = "▁"
"""Stands for a space in SentencePiece's tokens."""


def token_bytes(tokenizer: TextTokenizer) -> Int64[Tensor, "V"]:
    """Return each token's bytes of UTF-8; special tokens and numbers without a token have 0.

    Over the tokens of a text they sum to its bytes, as the tokenizer reads it: Qwen's composes
    characters first (NFC), Llama 2's puts a space in front.

    Raises:
        ValueError: of a tokenizer neither over bytes nor with bytes to fall back on.
    """
    sizes = torch.zeros(len(tokenizer), dtype=torch.long)
    size = _size_of(tokenizer)
    for name, number in tokenizer.vocabulary.items():
        sizes[number] = size(name)
    for name, number in tokenizer.added.items():
        sizes[number] = 0 if name in tokenizer.special else len(name.encode())
    return sizes


def _size_of(tokenizer: TextTokenizer):
    """Return the function from the name of a token that was learned to its bytes."""
    layout = tokenizer.layout
    if _mentions(layout["decoder"], "ByteLevel"):
        return len  # each letter of the name is a byte
    if not layout["model"].get("byte_fallback"):
        raise UserError(
            f"the bytes of a token are not known of a {layout['model'].get('type')} tokenizer "
            "that cannot spell every byte; use one over bytes, or with bytes to fall back on"
        )
    if any(_mentions(layout[part], SPACE) for part in ("normalizer", "pre_tokenizer", "decoder")):
        return lambda name: _spelled_size(name.replace(SPACE, " "))
    return _spelled_size


def _spelled_size(name: str) -> int:
    return 1 if SPELLED.fullmatch(name) else len(name.encode())


def _mentions(part: object, word: str) -> bool:
    """Tell whether a part of a layout holds a value, at any depth."""
    if isinstance(part, dict):
        return any(_mentions(value, word) for value in part.values())
    return any(_mentions(value, word) for value in part) if isinstance(part, list) else part == word
