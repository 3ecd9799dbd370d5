"""How much of a document says itself again: shares of lines and of runs of words."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int

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
        for length, counts in self._counts(lengths):
            most = int(counts.max(initial=1))
            starts = np.flatnonzero(counts == most) if most > 1 else ()
            longest = max((int(self.sizes[n : n + length].sum()) for n in starts), default=0)
            yield most * longest / max(int(self.sizes.sum()), 1)

    def repeated(self, lengths: Sequence[int]) -> Iterator[float]:
        """Yield for each length the share of characters in runs that occur more than once.

        Each character counts once. Source: Rae et al. 2021 (Gopher), table A1.
        """
        for length, counts in self._counts(lengths):
            covered = _covered(counts > 1, length) if len(counts) else ()
            yield int(self.sizes[np.flatnonzero(covered)].sum()) / max(int(self.sizes.sum()), 1)

    def _counts(self, lengths: Sequence[int]) -> Iterator[tuple[int, Int[np.ndarray, " runs"]]]:
        """Yield each length, ascending, with how often the run that starts at each word occurs.

        There are no counts if no run of that length occurs twice.
        """
        hashes, made = self.ids * FACTOR, 1
        for length in lengths:
            while made < length and len(hashes):
                mixed = hashes[:-1] ^ (hashes[:-1] >> np.uint64(29))
                hashes, made = mixed * FACTOR + self.ids[made:] * FACTOR, made + 1
            found, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
            if len(found) == len(hashes):  # and then every longer run is the only one, too
                hashes, places = hashes[:0], places[:0]
            yield length, counts[places]


def _covered(repeats: Bool[np.ndarray, " runs"], length: int) -> Bool[np.ndarray, " words"]:
    """Return which words lie in a run that repeats."""
    steps: Int[np.ndarray, " ends"] = np.zeros(len(repeats) + length, np.int64)
    steps[: len(repeats)] += repeats
    steps[length:] -= repeats
    return np.cumsum(steps)[:-1] > 0
