"""Captions: a text a line, white space joined."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from core.cleaning import keep, readable
from core.engine import Engine
from core.errors import UserError
from core.manifest import Manifest
from core.outcome import Hint, Hints
from core.sources import LONGEST_LINE, Piece, find_files, pieces
from core.splits import Members, cleaned, write_splits
from text.charsets import BINARY, UNREADABLE, check_encoding, plain_files

SUFFIXES = {".txt", ".jsonl"}
JOINED = "lines joined to one"
HINTS: Hints = {
    "too long": Hint("--longest keeps longer ones, --unit file takes them as documents"),
    "too short": Hint("--shortest keeps shorter ones"),
    "empty": Hint("", loss=False),
    "undecodable": Hint("--field names the key of a record's text, --encoding that of the files"),
    BINARY: Hint("they hold zero bytes"),
    UNREADABLE: Hint("--encoding names another"),
    JOINED: Hint("--unit file keeps line breaks", changed=True),
}
"""What became of lines, and which option changes it."""


def write_captions(
    source: Path,
    out: Path,
    field: str,
    lengths: tuple[int, int],
    val_fraction: float,
    licence: str,
    engine: Engine,
    *,
    encoding: str | None = None,
    strict: bool = False,
) -> dict[str, Manifest]:
    """Turn a folder of .txt and .jsonl files, a caption a line, into shards.

    Lines that are not UTF-8 or JSON, too short, too long or duplicates are dropped and counted.

    Args:
        field: Key of the text in a line of .jsonl.
        lengths: Fewest and most characters.
        encoding: Of files without a byte order mark; by default UTF-8.
        strict: Raise, and write nothing, if more than a tenth is dropped or joined.
    """
    check_encoding(encoding)
    shortest, longest = lengths
    if not 1 <= shortest <= longest:
        raise UserError(
            f"shortest {shortest} and longest {longest} must be 1 <= shortest <= longest"
        )
    dropped: Counter[str] = Counter()
    files = find_files(source, SUFFIXES, dropped)
    clean = partial(_clean, field=field, shortest=shortest, longest=longest)
    options = {"field": field, "shortest": shortest, "longest": longest}
    options |= {} if encoding is None else {"encoding": encoding}
    # Made when a file is copied into it; named as the dataset's own, which a kill leaves behind.
    scratch = out.with_name(f".{out.name}.{os.getpid()}.text.partial")
    try:
        plain = partial(plain_files, files, scratch, encoding=encoding)
        total = sum(1 for _ in pieces(plain(dropped)))
        texts = cleaned(engine, clean, pieces(plain(Counter())), dropped, "pieces", total)
        return write_splits(
            out,
            texts,
            required=["txt"],
            dropped=dropped,
            val_fraction=val_fraction,
            hints=HINTS,
            strict=strict,
            source=source.name,
            licence=licence,
            builder={"command": "text.shards", "val_fraction": val_fraction, **options},
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _clean(
    parts: Iterable[Piece], dropped: Counter[str], *, field: str, shortest: int, longest: int
) -> Iterator[Members]:
    lines = ((line, part.path.suffix.lower()) for part in parts for line in part.lines())
    fitting = keep(lines, {"too long": lambda line: len(line[0]) <= LONGEST_LINE}, dropped)
    texts = readable(fitting, lambda line: _decode(*line, field), dropped)
    rules = {
        "empty": lambda sample: len(sample["txt"]) > 0,
        "too short": lambda sample: len(sample["txt"].decode()) >= shortest,
        "too long": lambda sample: len(sample["txt"].decode()) <= longest,
    }
    for sample in keep(texts, rules, dropped):
        dropped[JOINED] += bool(sample.pop("joined"))
        yield sample


def _decode(line: bytes, suffix: str, field: str) -> dict[str, bytes]:
    """Return one text with white space joined; any kind of bad line is a ValueError."""
    text = line.decode("utf-8-sig")
    if "\0" in text:
        raise UserError("a zero character, which no text has")
    if suffix == ".jsonl" and text.strip():
        record = json.loads(text)
        text = record.get(field) if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise UserError(f"no string under {field!r}")
    joined = b"1" if "\n" in text.strip() else b""
    return {"txt": " ".join(text.split()).encode(), "joined": joined}
