"""Files of text in other encodings: a byte order mark tells, or the user does."""

import codecs
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.errors import UserError
from core.files import new_file

BEGINNING = 8192
"""Bytes of a file that are looked at."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, and so comes before it
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BINARY = "binary file"
UNREADABLE = "not text of its encoding"
AT_ONCE = 1 << 20
"""Characters that are read at a time."""


def encoding_of(beginning: bytes) -> str:
    """Return the encoding that the first bytes of a file tell; UTF-8 where they tell none.

    UTF-16 without a mark shows in zeros at every other place: text of Europe has them there.
    """
    for mark, name in MARKS:
        if beginning.startswith(mark):
            return name
    half = len(beginning) // 2
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if (
            half > 3
            and beginning[start::2].count(0) > 0.7 * half
            and not beginning[1 - start :: 2].count(0)
        ):
            return name
    return "utf-8"


def decode(data: bytes) -> str:
    """Return a file's text, in the encoding that its first bytes tell.

    Raises:
        UnicodeDecodeError: if it is in another.
    """
    return data.decode(encoding_of(data[:BEGINNING]))


def check_encoding(encoding: str | None) -> None:
    """Raise unless Python knows an encoding of this name."""
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError:
        raise UserError(
            f"the encoding {encoding!r} is not known; use one such as cp1252, utf-16 or shift_jis"
        ) from None


def plain_files(
    files: Iterable[Path], scratch: Path, dropped: Counter[str], encoding: str | None = None
) -> Iterator[Path]:
    """Yield files as UTF-8 with lines that end in LF: themselves, or copies of those that differ.

    Args:
        files: Of text.
        scratch: Folder for the copies; those that are there are used again.
        dropped: Counts of files that are binary or in another encoding, filled as they are drawn.
        encoding: Of files without a byte order mark; by default UTF-8.
    """
    for path in files:
        with path.open("rb") as stream:
            beginning = stream.read(BEGINNING)
        found = encoding_of(beginning)
        if found == "utf-8" and encoding is not None:
            found = encoding
        plain = codecs.lookup(found).name in ("utf-8", "utf-8-sig")
        if b"\0" in beginning and plain:
            dropped[BINARY] += 1
        elif plain and (b"\r" not in beginning or b"\n" in beginning):
            yield path
        elif (copied := _copied(path, scratch, found)) is not None:
            yield copied
        else:
            dropped[UNREADABLE] += 1


def _copied(path: Path, scratch: Path, encoding: str) -> Path | None:
    """Return a copy in UTF-8; None of a file that is not in this encoding."""
    known = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    copy = scratch / f"{known}-{path.stem[:80]}{path.suffix.lower()}"
    if copy.exists():
        return copy
    # What UTF-8 cannot decode is dropped line by line later on; it only needs its lines here.
    errors = "surrogateescape" if codecs.lookup(encoding).name == "utf-8" else "strict"
    try:
        with (
            path.open(encoding=encoding, errors=errors, newline=None) as source,
            new_file(copy) as partial,
            partial.open("w", encoding="utf-8", errors=errors, newline="\n") as target,
        ):
            while part := source.read(AT_ONCE):
                target.write(part)
    except UnicodeError:
        return None
    return copy
