"""The first pass: each document by itself, which workers do."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import UserError
from core.splits import content_digest
from text.corpus.documents import Document, Layout, Part, Unread
from text.corpus.language import check_languages, language
from text.corpus.ledger import Ledger
from text.corpus.near import check_near, signature
from text.corpus.rules import Predicate, Reading, Rules, damage, quality
from text.corpus.spool import Kept
from text.corpus.terms import Terms


@dataclass(frozen=True)
class Cleaning:
    """Which documents are kept."""

    shortest: int = 1
    """Fewest characters."""
    longest: int = 10_000_000
    """Most characters."""
    rules: Rules = Rules()
    """About encoding and repetition."""
    languages: tuple[str, ...] = ()
    """Codes of those to keep; none keeps all."""
    terms: tuple[Terms, ...] = ()
    """Lists of what no document may hold."""
    near: float | None = None
    """Similarity from which one of two documents is dropped; None compares none."""

    def __post_init__(self):
        if not 1 <= self.shortest <= self.longest:
            raise UserError(
                f"shortest {self.shortest} and longest {self.longest} must be"
                " 1 <= shortest <= longest"
            )
        if self.languages:
            check_languages(self.languages)
        if self.near is not None:
            check_near(self.near)

    def predicates(self) -> dict[str, Predicate]:
        """Return the rules by reason, in the order in which they are asked."""
        lengths: dict[str, Predicate] = {
            "empty": lambda read: not read.text.isspace() and read.text != "",
            "too short": lambda read: len(read.text) >= self.shortest,
            "too long": lambda read: len(read.text) <= self.longest,
        }
        wanted: dict[str, Predicate] = {
            f"in the list {terms.name}": _without(terms) for terms in self.terms
        }
        if self.languages:
            wanted["language"] = lambda read: language(read.text) in self.languages
        return lengths | damage(self.rules) | quality(self.rules) | wanted


@dataclass(frozen=True)
class Work:
    """Some documents of a domain."""

    domain: str
    part: Part

    def __str__(self) -> str:
        return str(self.part)


@dataclass(frozen=True)
class Cleansed:
    """What came of them."""

    domain: str
    kept: list[Kept]
    ledger: Ledger
    """Accounts of what was found and dropped."""


def cleanse(work: Work, layout: Layout, cleaning: Cleaning) -> Cleansed:
    """Read some documents and keep those that pass every rule."""
    ledger, rules = Ledger(), cleaning.predicates()
    kept = []
    for found in work.part.read(layout):
        if isinstance(found, Unread):
            ledger.lose(found.data, found.reason)
            continue
        ledger.find(found.text)
        reading = Reading(found.text)
        failed = next((reason for reason, passes in rules.items() if not passes(reading)), None)
        if failed is None:
            kept.append(_kept(found, work.domain, cleaning.near is not None))
        else:
            ledger.drop(failed, found.text)
    return Cleansed(work.domain, kept, ledger)


def _kept(found: Document, domain: str, compared: bool) -> Kept:
    text = found.text.encode()
    meta = {"domain": domain} | ({} if found.label is None else {"label": found.label})
    digest = content_digest({"txt": text}, ("txt",))
    label = json.dumps(found.label).encode()
    return Kept(
        text=text,
        characters=len(found.text),
        meta=json.dumps(meta, ensure_ascii=False, sort_keys=True).encode(),
        digest=digest,
        labelled=hashlib.sha256(digest + label).digest(),
        signature=signature(found.text).tobytes() if compared else b"",
    )


def _without(terms: Terms) -> Callable[[Reading], bool]:
    return lambda read: not terms.occur_in(read.text)
