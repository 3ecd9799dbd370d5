"""Samples in tar and zip files: as webdataset's writers order them, or in any order by hand.

Members whose names differ only in their suffix are one sample. An archive is cut into parts by
bytes, so that a large one is work for many; each worker looks up what is in it but once.
"""

import bz2
import gzip
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from core.sources import composed

PACKED: dict[str, Callable[[Path], Any]] = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
"""What is unpacked as a whole first; such a file is one part."""
SUFFIXES = frozenset({".tar", ".zip", *PACKED})
"""Archives that are read."""
PART = 1 << 22
"""Bytes of a part of an archive, which one worker reads at a time."""
LARGEST = 1 << 30
"""Bytes of the largest member that is read."""
BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, lzma.LZMAError,
          RuntimeError, NotImplementedError, ValueError)  # fmt: skip
"""What tarfile, zipfile and their decoders raise when an archive is damaged or locked."""


@dataclass(frozen=True)
class Entry:
    """A member of an archive."""

    name: str
    """Its path in the archive."""
    start: int
    """First byte of its content in a tar file, of its header in a zip file."""
    size: int
    """Bytes, unpacked."""


@dataclass(frozen=True)
class Group:
    """The members whose names differ only in their suffix."""

    key: str
    """What their names share."""
    entries: tuple[Entry, ...]
    """In the order of the archive."""


@dataclass(frozen=True)
class ArchivePart:
    """The samples of an archive whose first member starts in a range of bytes."""

    path: Path
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.path} (bytes {self.start} to {self.stop})"

    def groups(self) -> Iterator[Group]:
        """Yield the groups of this part."""
        whole = _packed(self.path)
        for group in index(self.path).groups:
            if whole or self.start <= group.entries[0].start < self.stop:
                yield group

    def open(self) -> "Archive":
        """Open the archive to read members."""
        return Archive(self.path)


def parts_of(path: Path) -> Iterator[ArchivePart]:
    """Cut an archive into parts, without a look into it."""
    size = path.stat().st_size
    step = size if _packed(path) else PART
    for start in range(0, size, max(1, step)):
        yield ArchivePart(path, start, min(start + step, size))


@dataclass(frozen=True)
class Index:
    """What an archive holds."""

    groups: tuple[Group, ...]
    """In the order of their first members."""
    damaged: bool
    """Whether it breaks off, so that members may be missing."""

    def suffixes(self) -> Counter[str]:
        """Count the members by suffix, in small letters."""
        return Counter(_suffix(entry) for group in self.groups for entry in group.entries)


def index(path: Path) -> Index:
    """Return what an archive holds; files only, and no hidden ones."""
    status = path.stat()
    return _index(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _index(path: Path, size: int, changed: int) -> Index:
    entries: list[Entry] = []
    try:
        with Archive(path) as archive:
            damaged = archive.list_into(entries)
    except BROKEN:
        damaged = True
    grouped: dict[str, list[Entry]] = {}
    for entry in entries:
        path_in = PurePosixPath(entry.name)
        if not any(part.startswith(".") or part == "__MACOSX" for part in path_in.parts):
            grouped.setdefault(composed(str(path_in.with_suffix(""))), []).append(entry)
    joined = _joined({key: tuple(group) for key, group in grouped.items()})
    return Index(tuple(Group(key, group) for key, group in joined.items()), damaged)


def _joined(groups: dict[str, tuple[Entry, ...]]) -> dict[str, tuple[Entry, ...]]:
    """Join a.caption.txt, which is alone, to a.jpg; but v1.5.jpg and v1.jpg are two pictures."""
    joined = dict(groups)
    for key, (first, *others) in groups.items():
        base = next((stem for stem in _shorter(key) if stem in groups), None)
        if base and not others and _suffix(first) not in map(_suffix, groups[base]):
            joined[base] = (*joined[base], first)
            del joined[key]
    return joined


def _shorter(key: str) -> Iterator[str]:
    """Yield a.b and a of a.b.c."""
    folder, _, name = key.rpartition("/")
    while "." in name:
        name = name.rpartition(".")[0]
        yield f"{folder}/{name}" if folder else name


def _suffix(entry: Entry) -> str:
    return PurePosixPath(entry.name).suffix.lower()


class Archive:
    """An open archive; a context that closes its files."""

    def __init__(self, path: Path):
        self._files = ExitStack()
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._infos: dict[int, zipfile.ZipInfo] = {}
        self._breaks_off = False
        try:
            self._file = self._open()
        except BaseException:
            self._files.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def list_into(self, entries: list[Entry]) -> bool:
        """Fill a list with the files in the archive; return whether it breaks off."""
        if self._zip is not None:
            entries += [
                Entry(info.filename, start, info.file_size)
                for start, info in sorted(self._infos.items())
                if not info.is_dir()
            ]
            return False
        with tarfile.open(fileobj=self._file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                if member.isreg() and not member.issparse():
                    entries.append(Entry(member.name, member.offset_data, member.size))
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue], or held twice
            self._file.seek(tar.offset)  # tarfile ends at what is no header without a word
            return self._breaks_off or bool(self._file.read(tarfile.BLOCKSIZE).strip(b"\0"))

    def read(self, entry: Entry) -> bytes:
        """Return a member's content; one that cannot be read whole is a ValueError."""
        if entry.size > LARGEST:
            raise ValueError(f"{entry.name} has {entry.size} bytes")
        try:
            data = self._read(entry)
        except BROKEN as error:
            raise ValueError(f"{entry.name} cannot be read ({error})") from None
        if len(data) < entry.size:
            raise ValueError(f"{entry.name} breaks off after {len(data)} bytes")
        return data

    def _read(self, entry: Entry) -> bytes:
        if self._zip is None:
            self._file.seek(entry.start)
            return self._file.read(entry.size)
        with self._zip.open(self._infos[entry.start]) as member:
            return member.read(entry.size + 1)

    def _open(self) -> BinaryIO:
        file: BinaryIO = self._files.enter_context(self.path.open("rb"))
        if self.path.suffix.lower() == ".zip":
            self._zip = self._files.enter_context(zipfile.ZipFile(file))
            self._infos = {info.header_offset: info for info in self._zip.infolist()}
        elif opened := _packed(self.path):
            return self._unpack(opened)
        return file

    def _unpack(self, opened: Callable[[Path], Any]) -> BinaryIO:
        plain = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115, see __exit__
        try:
            with opened(self.path) as packed:
                while data := packed.read1(1 << 16):
                    plain.write(data)
        except BROKEN:  # what came before may be whole
            self._breaks_off = True
        plain.seek(0)
        return plain


def _packed(path: Path) -> Callable[[Path], Any] | None:
    name = path.name.lower()
    return next((opened for suffix, opened in PACKED.items() if name.endswith(suffix)), None)
