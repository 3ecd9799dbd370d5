"""How well a text model predicts, and how varied its texts are: pure functions."""

import math
from collections.abc import Sequence
from itertools import chain

from core.errors import UserError


def perplexity(nats: float, tokens: int) -> float:
    """Return the exponential of the mean loss; it depends on the tokenizer."""
    return math.exp(nats / _positive(tokens, "tokens"))


def bits_per_byte(nats: float, texts: Sequence[str]) -> float:
    """Return the code length of texts per UTF-8 byte; comparable across tokenizers.

    Args:
        nats: Summed loss of all the texts' tokens.
        texts: What was predicted.
    """
    size = sum(len(text.encode()) for text in texts)
    return nats / math.log(2) / _positive(size, "bytes")


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Return the share of different ones among all runs of n words.

    Source: Li et al. 2016, "A diversity-promoting objective function", section 5.
    """
    runs = list(chain.from_iterable(_runs(text.split(), n) for text in texts))
    return len(set(runs)) / _positive(len(runs), f"runs of {n} words")


def _runs(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _positive(count: int, what: str) -> int:
    if count < 1:
        raise UserError(f"the texts hold no {what}; give some that are longer")
    return count
