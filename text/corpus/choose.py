"""The second pass: which of the clean documents are written, to which split, and how often."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from core.splits import SPLITS
from text.corpus.domains import Domain
from text.corpus.ledger import Accounts
from text.corpus.mixing import copies
from text.corpus.near import NearDuplicates
from text.corpus.spool import Spool, shares

Cut = Literal["hash", "tail"]
"""How validation is chosen: documents by a hash of their text, or the end of all characters."""
Numbers = Int[np.ndarray, " kept"]


@dataclass(frozen=True)
class Splitting:
    """What is written of the documents that are kept."""

    val: Cut = "hash"
    """Validation is a share of documents by a hash of their text, or the end of all characters."""
    val_fraction: float = 0.1
    """Share of documents, or of characters, for validation."""
    max_repeats: int = 1
    """Most times that a document of training is written, to reach its domain's weight."""

    def __post_init__(self):
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction is {self.val_fraction} but must lie between 0 and 1")
        if self.max_repeats < 1:
            raise ValueError(f"max_repeats is {self.max_repeats} but must be at least 1")


@dataclass(frozen=True)
class Written:
    """A sample of a split."""

    split: str
    """`train` or `val`."""
    text: bytes
    """In UTF-8."""
    meta: bytes
    """What is known of it, in JSON."""
    domain: int
    """Number of its domain."""


def compared(
    spool: Spool, accounts: Accounts, contradicted: set[bytes], near: float | None
) -> Numbers:
    """Return the numbers of the documents that remain when each is compared with all.

    Args:
        contradicted: The first 16 bytes of the digests of texts that have several labels.
        near: Similarity from which the later of two documents is dropped; None compares none.
    """
    if not contradicted and near is None:
        return np.arange(len(spool))
    alive = np.ones(len(spool), bool)
    similar = None if near is None or not len(spool) else NearDuplicates(near, spool.signatures())
    for number, row in enumerate(spool.rows()):
        reason = None
        if row["digest"].tobytes() in contradicted:
            reason = "contradictory labels"
        elif similar is not None and not similar.add(number):
            reason = "near duplicate"
        if reason is not None:
            alive[number] = False
            accounts.drop(int(row["domain"]), reason, spool.read(row)[0])
    return np.flatnonzero(alive)


def chosen(
    spool: Spool,
    numbers: Numbers,
    domains: Sequence[Domain],
    accounts: Accounts,
    splitting: Splitting,
) -> Iterator[Written]:
    """Yield what is written, in order, and enter into the accounts what is kept."""
    if not len(numbers):
        reasons = ", ".join(f"{n} {reason}" for reason, n in accounts.dropped.items())
        raise ValueError(
            f"no usable documents (dropped: {reasons or 'none'}); check the source, --field and the"
            " limits of the cleaning"
        )
    if splitting.val == "tail":
        yield from _cut(spool, numbers, accounts, splitting.val_fraction)
    else:
        yield from _dealt(spool, numbers, domains, accounts, splitting)


def _cut(
    spool: Spool, numbers: Numbers, accounts: Accounts, val_fraction: float
) -> Iterator[Written]:
    """Yield documents in order; what is behind a share of all characters is for validation."""
    rows = spool.rows()
    everything = int(rows["characters"][numbers].sum())
    left = int(everything * (1 - val_fraction))
    if not 0 < left < everything:
        raise ValueError(
            f"{everything} characters cannot be cut at {1 - val_fraction:g} of them; add text to"
            " the source"
        )
    for row in rows[numbers]:
        accounts.keep(int(row["domain"]), int(row["characters"]), int(row["text"]))
        data, meta = spool.read(row)
        text = data.decode()
        for split, piece in zip(SPLITS, (text[:left], text[left:]), strict=True):
            if piece:
                yield Written(split, piece.encode(), meta, int(row["domain"]))
        left = max(left - len(text), 0)


def _dealt(
    spool: Spool,
    numbers: Numbers,
    domains: Sequence[Domain],
    accounts: Accounts,
    splitting: Splitting,
) -> Iterator[Written]:
    """Yield documents in order, those of training as often as their domain's weight asks for."""
    rows = spool.rows()
    in_val = _in_val(rows, numbers, splitting.val_fraction)
    counts = np.ones(len(numbers), np.int64)
    if domains[0].weight is not None:
        counts[~in_val] = _mixed(rows, numbers[~in_val], domains, splitting.max_repeats)
    for row, count in zip(rows[numbers], counts, strict=True):
        if count:
            accounts.keep(int(row["domain"]), int(row["characters"]), int(row["text"]))
        else:
            accounts.drop(int(row["domain"]), "beyond its weight", spool.read(row)[0])
    for turn in range(counts.max(initial=0)):
        for row, val in zip(rows[numbers[counts > turn]], in_val[counts > turn], strict=True):
            yield Written(SPLITS[int(val)], *spool.read(row), int(row["domain"]))


def _in_val(rows: np.ndarray, numbers: Numbers, val_fraction: float) -> Bool[np.ndarray, " kept"]:
    """Return which documents are for validation: at least one is and one is not."""
    if len(numbers) < 2:
        raise ValueError(
            "only 1 usable document was found but a split by hash needs 2; cut its end off with"
            " --val tail, or choose a smaller --unit"
        )
    draws = shares(rows["digest"][numbers])
    in_val = draws < val_fraction
    if not in_val.any():
        return draws <= draws.min()
    return draws < draws.max() if in_val.all() else in_val


def _mixed(
    rows: np.ndarray, numbers: Numbers, domains: Sequence[Domain], max_repeats: int
) -> Numbers:
    """Return how many times each document of training is written."""
    weights = [domain.weight for domain in domains if domain.weight is not None]
    domain, sizes = rows["domain"][numbers], rows["text"][numbers]
    for number, found in enumerate(np.bincount(domain, minlength=len(weights))):
        if not found:
            raise ValueError(
                f"domain {domains[number].name} has a weight but no document for training; leave it"
                " out, or loosen the cleaning"
            )
    # Other bytes of the digest than those that chose the split.
    return copies(domain, sizes, shares(rows["digest"][numbers], 6), weights, max_repeats)
