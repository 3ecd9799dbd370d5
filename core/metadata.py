"""Captions that stand beside files: metadata.jsonl, .csv, .parquet and their like.

As Hugging Face's image and audio folders have them: a row names a file, relative to the folder of
the table (`file_name`), and tells its text. Any table whose rows name files counts, whatever it is
called; one row may name files of several kinds.
"""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from os.path import normpath
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.records import CAPTIONS, Blob, Layout, Record, captions_in, media_columns
from core.sources import composed, has_suffix
from core.tables import rows_of, schema_of

SUFFIXES = frozenset({".jsonl", ".csv", ".tsv", ".json", ".parquet"})
LOOK = 20
"""Rows of a table that are looked at to see whether they name files."""
LONGEST_NAME = 1000
"""Characters of the longest path."""
LONGEST = 1 << 28
"""Bytes of the largest .json, which is read whole."""


@dataclass
class Metadata:
    """What tables say of files."""

    captions: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By the file's path, as `key_of` writes it."""
    linked: list[Record] = field(default_factory=list)
    """Rows that name several files, which belong together whatever their names."""
    tables: set[Path] = field(default_factory=set)
    """The tables, which are no files of another kind then."""

    def claimed(self) -> set[str]:
        """Return the files that linked rows name."""
        return {key_of(Path(blob.name)) for record in self.linked for blob in record.blobs}


def key_of(path: Path) -> str:
    """Return what is equal for paths of one file."""
    return normpath(composed(path))


def read_metadata(paths: Iterable[Path], layout: Layout, dropped: Counter[str]) -> Metadata:
    """Gather what tables say of files.

    Args:
        paths: Files with one of the `SUFFIXES`, whether they are such tables or not.
        layout: Which files count, and the key of the captions.
        dropped: Counts rows whose file is missing.
    """
    found = Metadata()
    for path in paths:
        first = list(islice(_rows(path), LOOK))
        if any(_files_of(row, path.parent, layout) for row in first):
            found.tables.add(path)
            _check_field(path, first, layout.field)
            for row in _rows(path):
                _add(found, row, path, layout, dropped)
    return found


def _add(
    found: Metadata, row: dict[str, Any], table: Path, layout: Layout, dropped: Counter[str]
) -> None:
    captions = captions_in(row, layout.field)
    match _files_of(row, table.parent, layout):
        case []:
            dropped["named file is missing"] += 1
        case [path]:
            found.captions[key_of(path)] += captions
        case paths:
            blobs = tuple(Blob(str(path), path) for path in paths)
            found.linked.append(Record(" + ".join(map(str, paths)), blobs, captions))


def _files_of(row: dict[str, Any], folder: Path, layout: Layout) -> list[Path]:
    """Return the files that a row names; a caption that is no file's name is none."""
    media = layout.suffixes - layout.texts
    texts = CAPTIONS if layout.field is None else (layout.field,)
    values = (value for key, value in row.items() if key not in texts)
    names = (v for v in values if isinstance(v, str) and len(v) < LONGEST_NAME)
    named = [folder / name for name in names if has_suffix(Path(name), media)]
    return [path for path in map(_present, named) if path]


def _present(path: Path) -> Path | None:
    """Return the path as it is on disk, which may write its accents in another way."""
    if path.is_file():
        return path
    if not path.name.isascii() and path.parent.is_dir():
        alike = (p for p in path.parent.iterdir() if composed(p.name) == composed(path.name))
        return next(alike, None)
    return None


def _check_field(path: Path, rows: list[dict[str, Any]], name: str | None) -> None:
    columns = sorted({key for row in rows for key in row})
    if name is not None and name not in columns:
        raise UserError(
            f"{path} has no {name!r} but {', '.join(columns)}; name the captions with --field"
        )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, as far as it is one."""
    try:
        match path.suffix.lower():
            case ".jsonl":
                with path.open(encoding="utf-8-sig") as lines:
                    yield from _records(json.loads(line) for line in lines if line.strip())
            case ".json" if path.stat().st_size <= LONGEST:
                yield from _of_json(json.loads(path.read_text(encoding="utf-8-sig")))
            case ".csv" | ".tsv":
                yield from _of_csv(path)
            case ".parquet":
                yield from _of_parquet(path)
    except (ValueError, csv.Error, RecursionError):
        return  # it is no such table, or is one no further


def _records(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict))


def _of_json(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of a list, or of {file: caption} and {file: {caption: ...}}."""
    if isinstance(value, list):
        yield from _records(value)
    elif isinstance(value, dict):
        for name, told in value.items():
            yield {"file_name": name, **(told if isinstance(told, dict) else {"text": told})}


def _of_csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        separator = max(",\t;|", key=head.count)
        for row in csv.DictReader(file, delimiter=separator):
            yield {str(key): value for key, value in row.items()}


def _of_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the texts of a table's rows; one that holds media by itself is no such table."""
    schema = schema_of(path)
    plain = [field.name for field in schema if "string" in str(field.type)]
    if plain and not set(media_columns(schema)) - set(plain):
        for rows in rows_of(path):
            yield from rows.read(plain)
