"""How much of a document says itself again: shares of lines and of runs of words."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt64

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""An odd number that spreads the bits of a run's hash (Knuth, vol. 3, 6.4: the golden ratio)."""


def repeated_lines(lines: Sequence[str]) -> tuple[float, float]:
    """Return the shares of lines, and of their characters, that repeat a line before them.

    Source: Rae et al. 2021 (Gopher), table A1.
    """
    again = [line for line, count in Counter(lines).items() for _ in range(count - 1)]
    characters = sum(map(len, lines))
    return len(again) / max(len(lines), 1), sum(map(len, again)) / max(characters, 1)


class Runs:
    """Runs of words in a document: how much of it those take that occur more than once."""

    def __init__(self, words: Sequence[str]):
        numbers = {word: number for number, word in enumerate(dict.fromkeys(words), 1)}
        self.ids = np.fromiter((numbers[word] for word in words), np.uint64, len(words))
        self.sizes = np.fromiter(map(len, words), np.int64, len(words))

    def top(self, lengths: Sequence[int]) -> Iterator[float]:
        """Yield for each length the share of characters in the run of words that is most frequent.

        Source: Rae et al. 2021 (Gopher), table A1.
        """
        for length, hashes in self._hashes(lengths):
            _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
            most = int(counts.max(initial=1))
            if most == 1:
                yield 0.0
                continue
            places = first[counts == most]
            longest = max(int(self.sizes[place : place + length].sum()) for place in places)
            yield most * longest / max(int(self.sizes.sum()), 1)

    def repeated(self, lengths: Sequence[int]) -> Iterator[float]:
        """Yield for each length the share of characters in runs that occur more than once.

        Each character counts once. Source: Rae et al. 2021 (Gopher), table A1.
        """
        for length, hashes in self._hashes(lengths):
            _, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
            covered = _covered(counts[places] > 1, length)
            yield int(self.sizes[covered].sum()) / max(int(self.sizes.sum()), 1)

    def _hashes(self, lengths: Sequence[int]) -> Iterator[tuple[int, UInt64[np.ndarray, " runs"]]]:
        """Yield each length, ascending, with a hash of every run, made of that of the one less."""
        hashes, made = self.ids * FACTOR, 1
        for length in lengths:
            while made < length and len(hashes):
                mixed = hashes[:-1] ^ (hashes[:-1] >> np.uint64(29))
                hashes, made = mixed * FACTOR + self.ids[made:] * FACTOR, made + 1
            yield length, hashes


def _covered(repeats: Bool[np.ndarray, " runs"], length: int) -> Bool[np.ndarray, " words"]:
    """Return which words lie in a run that repeats."""
    steps: Int[np.ndarray, " ends"] = np.zeros(len(repeats) + length, np.int64)
    steps[: len(repeats)] += repeats
    steps[length:] -= repeats
    return np.cumsum(steps)[:-1] > 0
