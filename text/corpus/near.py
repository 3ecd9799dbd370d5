"""Near duplicates: documents that share most of their runs of words, by MinHash and LSH.

Source: Broder 1997 (resemblance); runs of five words as in Lee et al. 2022 (deduplicating training
data). The hashing and the tables are datasketch's.
"""

import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import UInt32

from core.errors import UserError

HASHES = 128
"""Numbers of a signature: the deviation of an estimated similarity is 0.044 at most."""
RUN = 5
"""Words of a run."""
AT_ONCE = 4096
"""Runs hashed at a time, 2 MB."""
SCHEME = "affine32"

Signature = UInt32[np.ndarray, "hashes"]


def check_near(threshold: float) -> None:
    """Raise unless a similarity can be a threshold, and the package is there."""
    if not 0 < threshold < 1:
        raise UserError(f"near is {threshold:g} but must lie between 0 and 1; 0.8 is usual")
    _datasketch()


def signature(text: str) -> Signature:
    """Return what tells how many of the runs of five words two documents share, of any case."""
    words = text.casefold().split()
    found = _empty().copy()
    for runs in _batches(
        {" ".join(words[n : n + RUN]) for n in range(max(len(words) - RUN, 0) + 1)}
    ):
        found.update_batch(runs)
    return found.hashvalues


class NearDuplicates:
    """Tables of the documents seen so far, in memory: 3.4 kB each at a threshold of 0.8."""

    def __init__(self, threshold: float, signatures: UInt32[np.ndarray, "documents hashes"]):
        """Begin with none.

        Args:
            threshold: Similarity (shared runs over all runs of two documents) of near duplicates.
            signatures: Of all documents, also mapped from a file.
        """
        self.threshold, self.signatures = threshold, signatures
        self._table = _datasketch().MinHashLSH(threshold, HASHES)

    def add(self, number: int) -> bool:
        """Note a document unless it is too similar to one before; return whether it was new."""
        own = np.array(self.signatures[number])
        hashed = _datasketch().LeanMinHash(seed=1, hashvalues=own, scheme=SCHEME)
        candidates = self._table.query(hashed)
        if any((self.signatures[n] == own).mean() >= self.threshold for n in candidates):
            return False
        self._table.insert(number, hashed)
        return True


def _batches(runs: set[str]) -> Iterator[list[bytes]]:
    """Yield runs in bytes, some at a time; which come first changes nothing."""
    encoded = [run.encode() for run in runs]
    for start in range(0, len(encoded), AT_ONCE):
        yield encoded[start : start + AT_ONCE]


@cache
def _empty() -> Any:
    """Return the signature of no runs; making its permutations takes longer than a document."""
    minhash = _datasketch().MinHash
    return minhash(HASHES, seed=1, hashfunc=zlib.crc32, scheme=SCHEME)


def _datasketch() -> Any:
    try:
        import datasketch
    except ImportError as error:
        raise UserError(
            "near duplicates are found by datasketch; install it with: pip install 'datasketch>=2'"
            " (or the extra corpus)"
        ) from error
    return datasketch
