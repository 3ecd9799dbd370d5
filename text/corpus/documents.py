"""What a document is: a line, a paragraph or a file of plain text, or a record.

White space and line breaks stay as they are, but for CR LF, which becomes LF, and a byte order
mark, which goes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from core.sources import LONGEST_LINE, Piece, pieces
from core.tables import Rows, rows_of

Unit = Literal["line", "paragraph", "file"]
"""What a document is in plain text."""
Label = str | int | float | bool
"""What a record may be labelled with."""
PIECE = 1 << 18
"""Bytes of a piece of plain text or of records, which one worker cleans at a time."""


@dataclass(frozen=True)
class Document:
    """One text, with its white space."""

    text: str
    """Never changed but for CR LF."""
    label: Label | None = None
    """Of a record."""


@dataclass(frozen=True)
class Unread:
    """In place of a document that could not be read."""

    data: bytes
    """What was found."""
    reason: str
    """Why it is no document."""


@dataclass(frozen=True)
class Layout:
    """Where documents stand in their files."""

    unit: Unit = "file"
    """A document of plain text."""
    field: str = "text"
    """Key or column of a record's text."""
    label: str | None = None
    """Key or column of its label."""
    longest: int = 10_000_000
    """Characters of the longest document; plain files with more are not even read."""
    encoding: str | None = None
    """Of text without a byte order mark; UTF-8 by default."""


@dataclass(frozen=True)
class Lines:
    """The lines, or the records of JSONL, that start in a piece of a file."""

    piece: Piece

    def __str__(self) -> str:
        return str(self.piece)

    def read(self, layout: Layout) -> Iterator[Document | Unread]:
        """Yield the documents."""
        records = self.piece.path.suffix.lower() == ".jsonl"
        for line in self.piece.lines():
            if len(line) > LONGEST_LINE:
                yield Unread(line[:LONGEST_LINE], "too long")
            elif records:
                yield _parsed(line, layout)
            else:
                yield _decoded(line.removesuffix(b"\n").removesuffix(b"\r"))


@dataclass(frozen=True)
class Paragraphs:
    """The lines between blank lines in a piece of a file that cuts no paragraph."""

    piece: Piece

    def __str__(self) -> str:
        return str(self.piece)

    def read(self, layout: Layout) -> Iterator[Document | Unread]:
        """Yield the documents: lines with their breaks, without the last one's."""
        held = bytearray()
        for line in chain(self.piece.lines(), (b"",)):
            if not line.strip():
                if held:
                    yield _paragraph(bytes(held))
                held.clear()
            elif len(held) <= LONGEST_LINE:
                held += line


@dataclass(frozen=True)
class Whole:
    """A file as one document."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def read(self, layout: Layout) -> Iterator[Document | Unread]:
        """Yield the document."""
        if self.path.stat().st_size > 4 * layout.longest + 3:  # a character takes 4 bytes at most
            with self.path.open("rb") as stream:
                yield Unread(stream.read(1024), "too long")
        else:
            yield _decoded(self.path.read_bytes())


@dataclass(frozen=True)
class Records:
    """Records of a table."""

    rows: Rows

    def __str__(self) -> str:
        return str(self.rows)

    def read(self, layout: Layout) -> Iterator[Document | Unread]:
        """Yield the documents."""
        for row in self.rows.read(columns_of(layout)):
            text, label = row[layout.field], row.get(layout.label or "")
            yield _recorded(text, label, layout, repr((text, label)).encode())


Part = Lines | Paragraphs | Whole | Records
"""Some documents of a file."""


def columns_of(layout: Layout) -> list[str]:
    """Return the columns of a table that are read."""
    return [layout.field] if layout.label is None else [layout.field, layout.label]


def parts_of(path: Path, layout: Layout) -> Iterator[Part]:
    """Cut a file into parts, so that one large file is work for many."""
    match path.suffix.lower():
        case ".jsonl":
            yield from map(Lines, pieces([path], PIECE))
        case ".parquet" | ".arrow":
            yield from map(Records, rows_of(path, columns_of(layout)))
        case _ if layout.unit == "line":
            yield from map(Lines, pieces([path], PIECE))
        case _ if layout.unit == "paragraph":
            yield from map(Paragraphs, _between_paragraphs(path))
        case _:
            yield Whole(path)


def _between_paragraphs(path: Path) -> Iterator[Piece]:
    """Cut a file at the first blank line behind each so many bytes."""
    start = 0
    with path.open("rb") as stream:
        whole = path.stat().st_size
        while start < whole:
            stream.seek(start + PIECE)
            stream.readline(LONGEST_LINE)
            while (line := stream.readline(LONGEST_LINE)) and line.strip():
                pass
            stop = min(stream.tell(), whole) if line else whole
            yield Piece(path, start, stop)
            start = stop


def _paragraph(data: bytes) -> Document | Unread:
    if len(data) > LONGEST_LINE:
        return Unread(data[:LONGEST_LINE], "too long")
    return _decoded(data.removesuffix(b"\n").removesuffix(b"\r"))


def _decoded(data: bytes) -> Document | Unread:
    try:
        return Document(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        return Unread(data, "not UTF-8")


def _parsed(line: bytes, layout: Layout) -> Document | Unread:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Unread(line, "not UTF-8")
    if not text.strip():
        return Document("")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return Unread(line, "not JSON")
    if not isinstance(record, dict):
        return Unread(line, "no record")
    label = None if layout.label is None else record.get(layout.label)
    return _recorded(record.get(layout.field), label, layout, line)


def _recorded(text: Any, label: Any, layout: Layout, data: bytes) -> Document | Unread:
    if not isinstance(text, str):
        return Unread(data, f"no text under {layout.field!r}")
    if layout.label is not None and not isinstance(label, Label):
        return Unread(data, f"no label under {layout.label!r}")
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, as JSON may escape it
        return Unread(data, "not UTF-8")
    return Document(text.replace("\r\n", "\n"), label)
