"""Documents on disk between the first pass, which cleans each, and the second, which compares them.

What is held in memory of a document is a row of 56 bytes, mapped from a file.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from text.corpus.near import HASHES

ROW = np.dtype([
    ("start", "<i8"), ("text", "<i8"), ("meta", "<i8"), ("characters", "<i8"), ("domain", "<i8"),
    ("digest", "u1", (16,)),
])  # fmt: skip
"""First byte, bytes of text and of what is known of it, characters, number of the domain, hash."""


@dataclass(frozen=True)
class Kept:
    """A document that passed every rule that looks at it alone."""

    text: bytes
    """UTF-8."""
    characters: int
    meta: bytes
    """JSON."""
    digest: bytes
    """16 bytes or more that are equal for equal texts only."""
    labelled: bytes
    """The same of text and label."""
    signature: bytes
    """For near duplicates; empty if none are sought."""


class Spool:
    """A file of documents that is first written, then read; a context."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = folder
        self._files = ExitStack()
        self._texts, self._rows, self._signatures = (
            self._files.enter_context((folder / name).open("w+b"))
            for name in ("texts", "rows", "signatures")
        )
        self._size = self._count = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def __len__(self) -> int:
        return self._count

    def add(self, kept: Kept, domain: int) -> None:
        """Write a document behind those before it."""
        sizes = len(kept.text), len(kept.meta)
        digest = tuple(kept.digest[:16])
        row = np.array((self._size, *sizes, kept.characters, domain, digest), ROW)
        self._texts.write(kept.text + kept.meta)
        self._rows.write(row.tobytes())
        self._signatures.write(kept.signature)
        self._size, self._count = self._size + sum(sizes), self._count + 1

    @cached_property
    def rows(self) -> np.ndarray:
        """A row for each document, in order; asked for when all are written."""
        self._rows.flush()
        return np.memmap(self._rows, ROW, "r", shape=(len(self),))

    @cached_property
    def signatures(self) -> np.ndarray:
        """The signatures [documents, hashes]; asked for when all are written."""
        self._signatures.flush()
        return np.memmap(self._signatures, np.uint32, "r", shape=(len(self), HASHES))

    def read(self, number: int) -> tuple[bytes, bytes]:
        """Return a document's text and what is known of it."""
        start, text, meta = (int(self.rows[name][number]) for name in ("start", "text", "meta"))
        self._texts.seek(start)
        return self._texts.read(text), self._texts.read(meta)


def shares(digests: np.ndarray, first: int = 0) -> Float[np.ndarray, " documents"]:
    """Return numbers in [0, 1) that six bytes of each digest say: `core.splits.share` from byte 0.

    Args:
        digests: Bytes [documents, 16].
        first: Byte to begin with.
    """
    powers = 256.0 ** -np.arange(1, 7)
    return digests[:, first : first + 6] @ powers
