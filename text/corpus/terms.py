"""Lists of terms that no document may hold: spam, what is unsafe, whatever the user lists."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.files import existing_file

WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Terms:
    """A list of terms, by their first word."""

    name: str
    """The file's, without suffix; documents are counted under it."""
    by_word: Mapping[str, Sequence[str]]
    """First word of a term -> the terms, in small letters with single spaces."""

    def occur_in(self, text: str) -> bool:
        """Tell whether a text holds one of the terms between bounds of words, in any case."""
        plain = _plain(text)
        for word in WORD.finditer(plain):
            for term in self.by_word.get(word[0], ()):
                if _ends_at_bound(plain, word.start(), term):
                    return True
        return False


def read_terms(path: Path) -> Terms:
    """Read a list: UTF-8, a term a line, of one word or several; a line after # is a note."""
    try:
        lines = existing_file(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    found = [_plain(line) for line in lines if line.strip() and not line.startswith("#")]
    if not found:
        raise UserError(f"{path} lists no terms; write one a line, or leave it out")
    return Terms(path.stem, _by_first_word(path, found))


def _by_first_word(path: Path, terms: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for term in dict.fromkeys(terms):
        first = WORD.match(term)
        if first is None:
            raise UserError(f"{path}: the term {term!r} must begin with a letter or digit")
        found[first[0]] = (*found.get(first[0], ()), term)
    return found


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _ends_at_bound(text: str, start: int, term: str) -> bool:
    return text.startswith(term, start) and not WORD.match(text, start + len(term))
