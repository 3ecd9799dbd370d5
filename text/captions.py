"""Captions: a text a line, white space joined."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from core.cleaning import keep, readable
from core.engine import Engine
from core.errors import UserError
from core.manifest import Manifest
from core.sources import LONGEST_LINE, Piece, find_files, pieces
from core.splits import Members, cleaned, write_splits

SUFFIXES = {".txt", ".jsonl"}


def write_captions(
    source: Path,
    out: Path,
    field: str,
    lengths: tuple[int, int],
    val_fraction: float,
    licence: str,
    engine: Engine,
) -> dict[str, Manifest]:
    """Turn a folder of .txt and .jsonl files, a caption a line, into shards.

    Lines that are not UTF-8 or JSON, too short, too long or duplicates are dropped and counted.

    Args:
        field: Key of the text in a line of .jsonl.
        lengths: Fewest and most characters.
    """
    shortest, longest = lengths
    if not 1 <= shortest <= longest:
        raise UserError(
            f"shortest {shortest} and longest {longest} must be 1 <= shortest <= longest"
        )
    dropped: Counter[str] = Counter()
    files = find_files(source, SUFFIXES, dropped)
    clean = partial(_clean, field=field, shortest=shortest, longest=longest)
    total = sum(1 for _ in pieces(files))
    texts = cleaned(engine, clean, pieces(files), dropped, "pieces", total)
    options = {"field": field, "shortest": shortest, "longest": longest}
    return write_splits(
        out,
        texts,
        required=["txt"],
        dropped=dropped,
        val_fraction=val_fraction,
        source=source.name,
        licence=licence,
        builder={"command": "text.shards", "val_fraction": val_fraction, **options},
    )


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
    return keep(texts, rules, dropped)


def _decode(line: bytes, suffix: str, field: str) -> dict[str, bytes]:
    """Return one text with white space joined; any kind of bad line is a ValueError."""
    text = line.decode("utf-8-sig")
    if suffix == ".jsonl" and text.strip():
        record = json.loads(text)
        text = record.get(field) if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise UserError(f"no string under {field!r}")
    return {"txt": " ".join(text.split()).encode()}
