"""The second pass: which of the clean documents are written, to which split, and how often."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from core.errors import UserError
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
            raise UserError(f"val_fraction is {self.val_fraction} but must lie between 0 and 1")
        if self.max_repeats < 1:
            raise UserError(f"max_repeats is {self.max_repeats} but must be at least 1")


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
    if not len(spool) or not (contradicted or near is not None):
        return np.arange(len(spool))
    alive = np.ones(len(spool), bool)
    similar = None if near is None else NearDuplicates(near, spool.signatures)
    for number, digest in enumerate(spool.rows["digest"]):
        reason = None
        if digest.tobytes() in contradicted:
            reason = "contradictory labels"
        elif similar is not None and not similar.add(number):
            reason = "near duplicate"
        if reason is not None:
            alive[number] = False
            _drop(spool, accounts, number, reason)
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
        raise UserError(
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
    everything = int(spool.rows["characters"][numbers].sum())
    left = int(everything * (1 - val_fraction))
    if not 0 < left < everything:
        raise UserError(
            f"{everything} characters cannot be cut at {1 - val_fraction:g} of them; add text to"
            " the source"
        )
    for number in numbers.tolist():
        _keep(spool, accounts, number)
        data, meta = spool.read(number)
        text = data.decode()
        for split, piece in zip(SPLITS, (text[:left], text[left:]), strict=True):
            if piece:
                yield Written(split, piece.encode(), meta, _domain(spool, number))
        left = max(left - len(text), 0)


def _dealt(
    spool: Spool,
    numbers: Numbers,
    domains: Sequence[Domain],
    accounts: Accounts,
    splitting: Splitting,
) -> Iterator[Written]:
    """Yield documents in order, those of training as often as their domain's weight asks for."""
    in_val = _in_val(spool.rows, numbers, splitting.val_fraction)
    counts = np.ones(len(numbers), np.int64)
    if domains[0].weight is not None:
        counts[~in_val] = _mixed(spool.rows, numbers[~in_val], domains, splitting.max_repeats)
    for number, count in zip(numbers.tolist(), counts, strict=True):
        if count:
            _keep(spool, accounts, number)
        else:
            _drop(spool, accounts, number, "beyond its weight")
    for turn in range(counts.max(initial=0)):
        for place in np.flatnonzero(counts > turn).tolist():
            number = int(numbers[place])
            split = SPLITS[int(in_val[place])]
            yield Written(split, *spool.read(number), _domain(spool, number))


def _in_val(rows: np.ndarray, numbers: Numbers, val_fraction: float) -> Bool[np.ndarray, " kept"]:
    """Return which documents are for validation: at least one is and one is not."""
    if len(numbers) < 2:
        raise UserError(
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
            raise UserError(
                f"domain {domains[number].name} has a weight but no document for training; leave it"
                " out, or loosen the cleaning"
            )
    # Other bytes of the digest than those that chose the split.
    return copies(domain, sizes, shares(rows["digest"][numbers], 6), weights, max_repeats)


def _domain(spool: Spool, number: int) -> int:
    return int(spool.rows["domain"][number])


def _keep(spool: Spool, accounts: Accounts, number: int) -> None:
    characters, size = (int(spool.rows[name][number]) for name in ("characters", "text"))
    accounts.keep(_domain(spool, number), characters, size)


def _drop(spool: Spool, accounts: Accounts, number: int, reason: str) -> None:
    accounts.drop(_domain(spool, number), reason, spool.read(number)[0])
