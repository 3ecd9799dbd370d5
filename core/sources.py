"""Where samples come from: files below a folder, and pieces of files of lines."""

import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError

PIECE = 1 << 14
"""Bytes of a piece: some hundred short lines, so that what one piece gives is soon done with."""
LONGEST_LINE = 1 << 26
"""Bytes of the longest line that is held in memory."""


@dataclass(frozen=True)
class Files(Collection[Path]):
    """The files below a folder, or the one file, that have one of the suffixes, sorted.

    They are looked up again whenever they are gone through, as a list of them would grow with them.
    """

    source: Path
    """A folder or a file."""
    suffixes: frozenset[str]
    """In small letters, with their dot."""
    count: int
    """Files that fit."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Path]:
        return (path for path in _files(self.source) if path.suffix.lower() in self.suffixes)

    def __contains__(self, path: object) -> bool:
        return any(path == found for found in self)


def find_files(source: Path, suffixes: Collection[str], dropped: Counter[str]) -> Files:
    """Return the files below a folder (or the one file) that have one of the suffixes, sorted.

    Others are counted as dropped; hidden files are not looked at.
    """
    if not source.exists():
        raise UserError(f"{source} does not exist; name a folder with files to read")
    fitting = other = 0
    for path in _files(source):
        fits = path.suffix.lower() in suffixes
        fitting, other = fitting + fits, other + (not fits)
    if other:
        dropped["other kind of file"] += other
    if not fitting:
        raise UserError(
            f"{source} holds no {', '.join(sorted(suffixes))} among its {other} files; "
            "name another folder"
        )
    return Files(source, frozenset(suffixes), fitting)


@dataclass(frozen=True)
class Piece:
    """The lines that start in a range of a file's bytes."""

    path: Path
    """The file."""
    start: int
    """First byte."""
    stop: int
    """Byte after the last."""

    def __str__(self) -> str:
        return f"{self.path} (bytes {self.start} to {self.stop})"

    def lines(self) -> Iterator[bytes]:
        """Yield the lines with their ends; the last may go on behind the piece.

        Of a line of more than `LONGEST_LINE` bytes one byte more than that is yielded.
        """
        with self.path.open("rb") as stream:
            if self.start:  # a line that began before belongs to the piece before
                stream.seek(self.start - 1)
                stream.readline(self.stop - self.start + 1)  # and may have no end in this one
            place = stream.tell()
            while place < self.stop and (line := stream.readline(LONGEST_LINE + 1)):
                yield line
                if len(line) > LONGEST_LINE:
                    _pass_end(line, stream)
                place = stream.tell()


def pieces(files: Iterable[Path], size: int = PIECE) -> Iterator[Piece]:
    """Cut files of lines into pieces, so that one large file is work for many."""
    for path in files:
        whole = path.stat().st_size
        for start in range(0, whole, size):
            yield Piece(path, start, min(start + size, whole))


def _pass_end(line: bytes, stream: io.BufferedIOBase) -> None:
    """Read on to the end of a line of which a part was read."""
    while line and not line.endswith(b"\n"):
        line = stream.readline(PIECE)


def _files(source: Path) -> Iterator[Path]:
    """Yield the files below a folder in the order of their sorted paths, hidden ones left out."""
    paths = (source / name for name in _names(source)) if source.is_dir() else (source,)
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file() and not path.name.startswith("."):
            yield path


def _names(folder: Path) -> Iterator[str]:
    """Yield the names in a folder, sorted: in an array, as a list takes four times as much."""
    with os.scandir(folder) as entries:
        longest = max((len(os.fsencode(entry.name)) for entry in entries), default=1)
    with os.scandir(folder) as entries:
        names = np.fromiter((os.fsencode(entry.name) for entry in entries), f"S{longest}")
    names.sort()
    return (os.fsdecode(name) for name in names)
