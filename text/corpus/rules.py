"""Which documents are fit to learn from: thresholds, and a predicate for each reason to drop."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from core.errors import UserError
from text.corpus.repetition import Runs, repeated_lines

TOP = (2, 3, 4)
"""Words of the runs of which the most frequent is looked at."""
REPEATED = (5, 6, 7, 8, 9, 10)
"""Words of the runs of which all that repeat are looked at."""
LETTER = re.compile(r"[^\W\d_]")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")
"""Control characters, but for tab, line feed, form feed, carriage return and next line."""
# UTF-8 read as Windows-1252: what the first byte of a character of two, three or four bytes
# becomes, and then as many of what 0x80 to 0xBF become (five of them stay control characters).
_BEHIND = "[" + re.escape(
    "".join(bytes([n]).decode("cp1252", "ignore") or chr(n) for n in range(0x80, 0xC0))
) + "]"  # fmt: skip
MOJIBAKE = re.compile(rf"[\xc2-\xdf]{_BEHIND}|[\xe0-\xef]{_BEHIND}{{2}}|[\xf0-\xf4]{_BEHIND}{{3}}")
"""A character of UTF-8 that was read as Windows-1252."""


@dataclass(frozen=True)
class Rules:
    """Thresholds of the cleaning; a largest share of 1, or a smallest of 0, switches a rule off.

    Those after `judged` are of Rae et al. 2021 (Gopher), section A.1 and table A1, as used again by
    Penedo et al. 2024 (FineWeb). They are statistics of web pages and say little about short texts.
    """

    controls: float = 0.001
    """Largest share of control characters."""
    replaced: float = 0.001
    """Largest share of U+FFFD, which stands where bytes could not be decoded."""
    mojibake: float = 0.005
    """Largest share of characters that look like UTF-8 read as Windows-1252."""
    judged: int = 50
    """Documents with fewer words are not judged by what follows: Gopher's shortest page."""
    symbols: float = 0.1
    """Most hash signs a word, and most ellipses a word."""
    letters: float = 0.8
    """Smallest share of words with a letter."""
    bullets: float = 0.9
    """Largest share of lines that begin with a bullet."""
    ellipses: float = 0.3
    """Largest share of lines that end with an ellipsis."""
    lines: float = 0.3
    """Largest share of lines that repeat one before."""
    line_characters: float = 0.2
    """Largest share of characters in such lines."""
    top: tuple[float, float, float] = (0.2, 0.18, 0.16)
    """Largest shares of characters in the most frequent run of 2, 3 and 4 words."""
    repeated: tuple[float, float, float, float, float, float] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.1)
    """Largest shares of characters in runs of 5, 6, 7, 8, 9 and 10 words that repeat."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            shares = value if isinstance(value, tuple) else (value,)
            most = float("inf") if field.name in ("judged", "symbols") else 1
            if not all(0 <= share <= most for share in shares):
                raise UserError(
                    f"rules.{field.name} is {value} but must lie in 0 to {most:g}; change it"
                )


class Reading:
    """A document, and what several rules want to know of it."""

    def __init__(self, text: str):
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        """What stands between white space."""
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank."""
        return [line.strip() for line in self.text.split("\n") if line.strip()]

    @cached_property
    def repeated_lines(self) -> tuple[float, float]:
        """Shares of lines and of characters."""
        return repeated_lines(self.lines)

    @cached_property
    def runs(self) -> Runs:
        """Of words."""
        return Runs([word.casefold() for word in self.words])


Predicate = Callable[[Reading], bool]
"""True for a document to keep."""


def damage(rules: Rules) -> dict[str, Predicate]:
    """Return the rules about encoding."""
    return {
        "control characters": lambda read: _share(CONTROL, read.text) <= rules.controls,
        "replacement characters": lambda read: (
            read.text.count("\ufffd") <= rules.replaced * len(read.text)
        ),
        "mojibake": lambda read: _share(MOJIBAKE, read.text) <= rules.mojibake,
    }


def quality(rules: Rules) -> dict[str, Predicate]:
    """Return the rules about what prose looks like, which short documents pass."""
    found: dict[str, Predicate] = {
        "symbols": lambda read: symbols(read) <= rules.symbols,
        "few letters": lambda read: letters(read.words) >= rules.letters,
        "bullets": lambda read: _starting(read.lines) <= rules.bullets,
        "ellipses": lambda read: _trailing(read.lines) <= rules.ellipses,
        "repeated lines": lambda read: (
            read.repeated_lines[0] <= rules.lines
            and read.repeated_lines[1] <= rules.line_characters
        ),
        "repeated words": lambda read: all(
            share <= most for share, most in _with_limits(read.runs, rules)
        ),
    }
    return {reason: _if_long(passes, rules.judged) for reason, passes in found.items()}


def symbols(read: Reading) -> float:
    """Return hash signs a word or ellipses a word, whichever are more."""
    dots = read.text.count("...") + read.text.count("…")
    return max(read.text.count("#"), dots) / max(len(read.words), 1)


def letters(words: Sequence[str]) -> float:
    """Return the share of words with a letter, of any script."""
    return sum(LETTER.search(word) is not None for word in words) / max(len(words), 1)


def _if_long(passes: Predicate, judged: int) -> Predicate:
    return lambda read: len(read.words) < judged or passes(read)


def _with_limits(runs: Runs, rules: Rules) -> Iterator[tuple[float, float]]:
    yield from zip(runs.top(TOP), rules.top, strict=True)
    yield from zip(runs.repeated(REPEATED), rules.repeated, strict=True)


def _share(pattern: re.Pattern[str], text: str) -> float:
    """Return the share of characters that a pattern finds."""
    return sum(len(found) for found in pattern.findall(text)) / max(len(text), 1)


def _starting(lines: Sequence[str]) -> float:
    return sum(line.startswith(("•", "‣", "▪", "●", "- ", "* ")) for line in lines) / max(
        len(lines), 1
    )


def _trailing(lines: Sequence[str]) -> float:
    return sum(line.endswith(("...", "…")) for line in lines) / max(len(lines), 1)
