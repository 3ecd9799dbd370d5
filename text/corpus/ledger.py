"""What went in, what was dropped for which reason, what is left: figures and a few examples."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

EXAMPLES = 3
"""Excerpts kept for each reason: the first ones."""
EXCERPT = 240
"""Characters of an excerpt."""


@dataclass
class Amount:
    """How much text."""

    documents: int = 0
    characters: int = 0
    """Of what could be decoded."""
    bytes: int = 0
    """In UTF-8, or as they were found where they are not UTF-8."""

    def add(self, other: "Amount") -> None:
        """Add another amount to this one."""
        self.documents += other.documents
        self.characters += other.characters
        self.bytes += other.bytes

    def to_plain(self) -> dict[str, int]:
        """Return the figures by name."""
        return {"documents": self.documents, "characters": self.characters, "bytes": self.bytes}


def amount(text: str) -> Amount:
    """Return how much one document is."""
    return Amount(1, len(text), len(text.encode()))


@dataclass
class Ledger:
    """The accounts of one domain."""

    found: Amount = field(default_factory=Amount)
    """All documents that the source held."""
    kept: Amount = field(default_factory=Amount)
    """Those that were written, each once."""
    dropped: dict[str, Amount] = field(default_factory=dict)
    """The others, by reason."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Beginnings of the first that each reason dropped."""
    lengths_found: Counter[int] = field(default_factory=Counter)
    """Documents by length: n counts those of 2^(n-1) to 2^n - 1 characters."""
    lengths_kept: Counter[int] = field(default_factory=Counter)
    """The same of those that were written."""

    def find(self, text: str) -> None:
        """Enter a document of the source."""
        self.found.add(amount(text))
        self.lengths_found[len(text).bit_length()] += 1

    def lose(self, data: bytes, reason: str) -> None:
        """Enter a document of the source that could not be read, and so was dropped."""
        unread = Amount(1, 0, len(data))
        self.found.add(unread)
        self._drop(reason, unread, data[: 4 * EXCERPT].decode("utf-8", "replace"))

    def drop(self, reason: str, text: str) -> None:
        """Enter that a document which was found is dropped."""
        self._drop(reason, amount(text), text)

    def keep(self, characters: int, size: int) -> None:
        """Enter that a document is written."""
        self.kept.add(Amount(1, characters, size))
        self.lengths_kept[characters.bit_length()] += 1

    def merge(self, other: "Ledger") -> None:
        """Add the accounts of what came later."""
        self.found.add(other.found)
        self.kept.add(other.kept)
        self.lengths_found.update(other.lengths_found)
        self.lengths_kept.update(other.lengths_kept)
        for reason, lost in other.dropped.items():
            self.dropped.setdefault(reason, Amount()).add(lost)
            shown = self.examples.setdefault(reason, [])
            shown += other.examples[reason][: EXAMPLES - len(shown)]

    def to_plain(self) -> dict[str, Any]:
        """Return the figures, without the examples."""
        return {
            "before": self.found.to_plain(),
            "after": self.kept.to_plain(),
            "dropped": [{"reason": r} | lost.to_plain() for r, lost in self.dropped.items()],
        }

    def _drop(self, reason: str, lost: Amount, excerpt: str) -> None:
        self.dropped.setdefault(reason, Amount()).add(lost)
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append(excerpt[:EXCERPT] + (" …" if len(excerpt) > EXCERPT else ""))


@dataclass(frozen=True)
class Accounts:
    """The ledgers of all domains, and the files that were not read."""

    names: tuple[str, ...]
    """Of the domains."""
    reasons: tuple[str, ...] = ()
    """Why documents may be dropped, in the order of asking, behind those that cannot be read."""
    files: Counter[str] = field(default_factory=Counter)
    """Files by the reason why they were not read."""
    _ledgers: dict[str, Ledger] = field(default_factory=dict)

    def __post_init__(self):
        self._ledgers.update({name: Ledger() for name in self.names})

    def __getitem__(self, name: str) -> Ledger:
        """Return what is known of a domain, by reason in order."""
        return self._merged(name)

    @property
    def total(self) -> Ledger:
        """The accounts of all domains together."""
        return self._merged(*self.names)

    def add(self, domain: int, ledger: Ledger) -> None:
        """Enter what was found next of a domain."""
        self._ledgers[self.names[domain]].merge(ledger)

    @property
    def dropped(self) -> dict[str, int]:
        """Files and documents by reason."""
        lost = {reason: lost.documents for reason, lost in self.total.dropped.items()}
        return dict(self.files) | lost

    def drop(self, domain: int, reason: str, text: bytes) -> None:
        """Enter that a document which was found is dropped.

        Args:
            domain: Number of its domain.
            reason: Why.
            text: In UTF-8.
        """
        self._ledgers[self.names[domain]].drop(reason, text.decode())

    def keep(self, domain: int, characters: int, size: int) -> None:
        """Enter that a document is written."""
        self._ledgers[self.names[domain]].keep(characters, size)

    def _merged(self, *names: str) -> Ledger:
        whole = Ledger()
        for name in names:
            whole.merge(self._ledgers[name])
        places = {reason: place for place, reason in enumerate(self.reasons)}
        order = sorted(whole.dropped, key=lambda reason: places.get(reason, -1))
        return replace(whole, dropped={reason: whole.dropped[reason] for reason in order})
