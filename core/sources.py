"""Where samples come from: files below a folder, and pieces of files of lines."""

import glob
import io
import os
import re
import unicodedata
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
    """A folder, a file, or a pattern of such: shards/*.tar, shards/{000..012}.tar."""
    suffixes: frozenset[str]
    """In small letters, with their dot."""
    count: int
    """Files that fit."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Path]:
        return (path for path in _files(self.source) if has_suffix(path, self.suffixes))

    def __contains__(self, path: object) -> bool:
        return any(path == found for found in self)


def find_files(
    source: Path,
    suffixes: Collection[str],
    dropped: Counter[str],
    *,
    unread: Collection[str] = (),
    extra: Collection[str] = (),
) -> Files:
    """Return the files below a folder (or the one file) that have one of the suffixes, sorted.

    Links to files and folders are followed; those that lead back to where they stand, or nowhere,
    are counted as dropped, as are files of other kinds. Hidden files and folders are not looked at.

    Args:
        source: Also a pattern of paths: shards/*.tar, shards/{000..012}.tar.
        unread: Suffixes of what could be samples but is not read; counted by themselves.
        extra: More suffixes that are taken, but not named where nothing is found.
    """
    fitting, taken = Counter[str](), {*suffixes, *extra}
    for path in _files(_existing(source), fitting):
        match path:
            case _ if has_suffix(path, taken):
                fitting["files"] += 1
            case _ if has_suffix(path, unread):
                fitting["unread kind of file"] += 1
            case _:
                fitting["other kind of file"] += 1
    count = fitting.pop("files", 0)
    dropped.update(fitting)
    if not count:
        raise UserError(
            f"{source} holds no {', '.join(sorted(suffixes))} among its {fitting.total()} files; "
            "name another folder"
        )
    return Files(source, frozenset(taken), count)


def has_suffix(path: Path, suffixes: Collection[str]) -> bool:
    """Tell whether a name ends in one of the suffixes, in letters of either size."""
    return path.name.lower().endswith(tuple(suffixes))


def composed(name: str | Path) -> str:
    """Return a name with each letter and its accent as one character, where there is one (NFC).

    Macs store them apart, so that equal names differ in their bytes.
    """
    return unicodedata.normalize("NFC", str(name))


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


def _existing(source: Path) -> Path:
    """Return the source if there is something, else raise."""
    if not source.exists() and not any(True for _ in _matches(source)):
        raise UserError(f"{source} does not exist; name a folder with files to read")
    return source


def _files(source: Path, skipped: Counter[str] | None = None) -> Iterator[Path]:
    """Yield the files below a source in the order of their sorted paths, hidden ones left out."""
    skipped = Counter() if skipped is None else skipped
    for path in (source,) if source.exists() else _matches(source):
        if path.is_dir():
            yield from _below(path, _Walk(path.resolve(), set(), skipped))
        elif not path.name.startswith("."):
            yield path


@dataclass(frozen=True)
class _Walk:
    """What a way through folders has to remember, that links lead to each but once."""

    root: Path
    """Where it began."""
    followed: set[Path]
    """Folders outside of it that links led to."""
    skipped: Counter[str]
    """Links that were left out, by reason."""

    def leads_on(self, link: Path) -> bool:
        """Tell whether a link to a folder leads to one that is not gone through anyway."""
        target = link.resolve()
        known = self.root, *self.followed
        within = any(target.is_relative_to(folder) or folder.is_relative_to(target)
                     for folder in known)  # fmt: skip
        if within:
            self.skipped["link to a folder that is read anyway"] += 1
            return False
        self.followed.add(target)
        return True


def _below(folder: Path, walk: _Walk) -> Iterator[Path]:
    for name in _names(folder):
        path = folder / name
        if name.startswith("."):
            continue
        if path.is_dir():
            if not path.is_symlink() or walk.leads_on(path):
                yield from _below(path, walk)
        elif path.is_file():
            yield path
        elif path.is_symlink():
            walk.skipped["broken link"] += 1


def _names(folder: Path) -> Iterator[str]:
    """Yield the names in a folder, sorted: in an array, as a list takes four times as much.

    Names that differ only in how they write an accent stand beside each other.
    """
    with os.scandir(folder) as entries:
        longest = max((len(os.fsencode(entry.name)) for entry in entries), default=1)
    with os.scandir(folder) as entries:
        names = np.fromiter((os.fsencode(entry.name) for entry in entries), f"S{longest}")
    names.sort()
    if any(not name.isascii() for name in names):
        alike = [os.fsencode(composed(os.fsdecode(name))) for name in names]
        names = names[np.argsort(np.array(alike), kind="stable")]
    return (os.fsdecode(name) for name in names)


def _matches(pattern: Path) -> Iterator[Path]:
    """Yield the paths that a pattern stands for, sorted; of {000..012} each number."""
    words = _spelled_out(str(pattern))
    for word in words:
        found = sorted(glob.glob(word)) if glob.has_magic(word) else [word]  # noqa: PTH207
        yield from (path for path in map(Path, found) if path.exists())


def _spelled_out(pattern: str) -> Iterator[str]:
    """Yield what braces stand for: {000..012} and {a,b}."""
    braces = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if not braces:
        yield pattern
        return
    first, last, listed = braces.groups()
    words = (
        listed.split(",")
        if listed is not None
        else [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
    )
    for word in words:
        yield from _spelled_out(pattern[: braces.start()] + word + pattern[braces.end() :])
