"""Your own texts as clean shards.

python -m text.shards --source my_texts --out data/texts
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from core.cleaning import keep, readable
from core.cli import command
from core.engine import EngineName, engine_named
from core.sources import Piece, find_files, pieces
from core.splits import Members, cleaned, report, write_splits

SUFFIXES = {".txt", ".jsonl"}


def shards(
    source: Path,
    out: Path,
    field: str = "text",
    shortest: int = 1,
    longest: int = 1000,
    val_fraction: float = 0.1,
    licence: str = "not stated",
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Turn a folder of .txt and .jsonl files, a text a line, into shards for training.

    White space is joined. Lines that are not UTF-8 or JSON, too short, too long or duplicates are
    dropped and counted in the manifest.

    Args:
        source: Folder with files, also in folders below it, or one file.
        out: Folder to write; train and val appear in it.
        field: Key of the text in a line of .jsonl.
        shortest: Texts with fewer characters are dropped.
        longest: Texts with more characters are dropped.
        val_fraction: Share of texts for validation, chosen by a hash of their content.
        licence: Licence of the texts, for the manifest.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    if not 1 <= shortest <= longest:
        raise ValueError(
            f"shortest {shortest} and longest {longest} must be 1 <= shortest <= longest"
        )
    dropped: Counter[str] = Counter()
    files = find_files(source, SUFFIXES, dropped)
    clean = partial(_clean, field=field, shortest=shortest, longest=longest)
    total = sum(1 for _ in pieces(files))
    texts = cleaned(
        engine_named(engine, workers, address), clean, pieces(files), dropped, "pieces", total
    )
    options = {"field": field, "shortest": shortest, "longest": longest}
    manifests = write_splits(
        out,
        texts,
        required=["txt"],
        dropped=dropped,
        val_fraction=val_fraction,
        source=source.name,
        licence=licence,
        builder={"command": "text.shards", "val_fraction": val_fraction, **options},
    )
    report(out, manifests)


def _clean(
    parts: Iterable[Piece], dropped: Counter[str], *, field: str, shortest: int, longest: int
) -> Iterator[Members]:
    lines = ((line, part.path.suffix.lower()) for part in parts for line in part.lines())
    texts = readable(lines, lambda line: _decode(*line, field), dropped)
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
            raise ValueError(f"no string under {field!r}")
    return {"txt": " ".join(text.split()).encode()}


if __name__ == "__main__":
    command(shards)
