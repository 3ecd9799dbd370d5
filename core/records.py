"""Records of the user's own data, however it is laid out: files, archives, tables.

A record holds what belongs together: some files, on disk or in memory, and captions. Read are

- files of a folder, which builders take one by one or pair by name,
- tar and zip files (webdataset, img2dataset, video2dataset, CLAP, or made by hand), where members
  whose names differ only in their suffix are a record,
- Parquet files and folders that Hugging Face's datasets saved, where a row is a record; media stand
  in it as bytes, as {bytes, path}, as a list of these, or as a path from the table's folder.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from core import archives
from core.archives import ArchivePart, Group
from core.errors import UserError
from core.formats import suffix_of
from core.sources import Files, find_files, has_suffix
from core.tables import Batch, RowGroup, Rows, listed, need_pyarrow, rows_of, schema_of

TABLES = frozenset({".parquet", ".arrow"})
CONTAINERS = archives.SUFFIXES | TABLES
"""Files that hold records."""
CAPTIONS = ("text", "caption", "captions", "txt", "sentence", "sentences", "transcription",
            "transcript", "description", "prompt", "title", "alt_text")  # fmt: skip
"""Keys and columns that hold captions, the first that is there, unless one is named."""
ROWS = 16
"""Rows with media that are held at a time."""


@dataclass(frozen=True)
class Blob:
    """A file, on disk or in memory."""

    name: str
    """Its suffix tells its kind."""
    content: Path | bytes

    @property
    def suffix(self) -> str:
        """The suffix in small letters, with its dot."""
        return PurePosixPath(self.name).suffix.lower()

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """Yield the path of a file with this content, as decoders take it."""
        if isinstance(self.content, Path):
            yield self.content
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"file{self.suffix}")
            path.write_bytes(self.content)
            yield path


@dataclass(frozen=True)
class Record:
    """What belongs together."""

    name: str
    """Where it stands."""
    blobs: tuple[Blob, ...]
    captions: tuple[str, ...] = ()
    """Texts that do not come as files."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Layout:
    """What is looked for in containers."""

    suffixes: frozenset[str]
    """Kinds of files that are taken."""
    texts: frozenset[str] = frozenset()
    """Those of them that are captions."""
    field: str | None = None
    """Key or column of captions; by default the first of `CAPTIONS` that is there."""


Container = ArchivePart | Rows
"""Some records of a file, which one worker reads at a time."""
Source = Path | Container
"""A file that is taken as it is, or records of one that holds many."""


@dataclass(frozen=True)
class Sources(Collection[Source]):
    """The files below a folder, and parts of the containers among them."""

    files: Files
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Source]:
        for path in self.files:
            if has_suffix(path, CONTAINERS):
                yield from containers_of(path, Counter())
            else:
                yield path

    def __contains__(self, source: object) -> bool:
        return any(source == found for found in self)


def find_sources(
    source: Path, suffixes: Collection[str], dropped: Counter[str], unread: Collection[str] = ()
) -> Sources:
    """Return the files with one of the suffixes below a folder, and what containers hold.

    Args:
        dropped: Counts what is no source by reason.
        unread: As `core.sources.find_files` takes it.
    """
    files = find_files(source, suffixes, dropped, unread=unread, extra=CONTAINERS)
    held = [path for path in files if has_suffix(path, CONTAINERS)]
    parts = sum(1 for path in held for _ in containers_of(path, dropped))
    if count := len(files) - len(held) + parts:
        return Sources(files, count)
    raise UserError(
        f"{source} holds no {', '.join(sorted(suffixes))}, and its {len(held)} tables have no "
        "column of media (bytes, {bytes, path} or file_name); name another folder"
    )


def as_files(
    sources: Iterable[Source], suffixes: Collection[str], dropped: Counter[str]
) -> Iterator[Path]:
    """Yield a path of each file that the sources are or hold.

    It is good until the next is drawn: what comes from a container lies in a temporary folder.
    """
    layout = Layout(frozenset(suffixes))
    for source in sources:
        if isinstance(source, Path):
            yield source
            continue
        for record in records_of(source, layout, dropped):
            for blob in record.blobs:
                with blob.on_disk() as path:
                    yield path


def containers_of(path: Path, dropped: Counter[str]) -> Iterator[Container]:
    """Cut an archive or a table into parts; a table without media, or of a cache, has none."""
    if has_suffix(path, archives.SUFFIXES):
        yield from archives.parts_of(path)
        return
    need_pyarrow()
    try:
        if listed(path) and media_columns(schema_of(path)):
            yield from rows_of(path)
        else:
            dropped["other kind of file"] += 1
    except UserError:
        dropped["damaged table"] += 1


def records_of(source: Container, layout: Layout, dropped: Counter[str]) -> Iterator[Record]:
    """Yield the records of a part of a container; what cannot be read is counted."""
    match source:
        case ArchivePart():
            yield from _of_archive(source, layout, dropped)
        case RowGroup() | Batch():
            yield from _of_rows(source, layout, dropped)


def captions_in(row: Any, field: str | None) -> tuple[str, ...]:
    """Return the captions in a record of keys and values: a text, or a list of texts."""
    if not isinstance(row, dict):
        return ()
    keys = CAPTIONS if field is None else (field,)
    found = (tuple(_texts(row.get(key))) for key in keys)
    return next((texts for texts in found if texts), ())


def _texts(value: Any) -> Iterator[str]:
    """Yield what is text in a value; COCO's captions stand under `raw`."""
    match value:
        case str() if value.strip():
            yield value
        case dict():
            yield from _texts(value.get("raw"))
        case list():
            for one in value:
                yield from _texts(one)


def _of_archive(part: ArchivePart, layout: Layout, dropped: Counter[str]) -> Iterator[Record]:
    index = archives.index(part.path)
    if part.start == 0 and index.damaged:
        dropped["damaged archive"] += 1
    # A sample without its .txt among others with one has no caption: its .json is a record of how
    # it was fetched. Where no sample has one, the .json is all there is.
    in_json = bool(layout.texts) and not any(index.suffixes()[text] for text in layout.texts)
    groups = list(part.groups())
    if not groups:
        return
    with part.open() as archive:
        for group in groups:
            yield from _of_group(part.path, archive, group, layout, dropped, in_json=in_json)


def _of_group(
    path: Path,
    archive: archives.Archive,
    group: Group,
    layout: Layout,
    dropped: Counter[str],
    *,
    in_json: bool,
) -> Iterator[Record]:
    blobs, captions = [], ()
    for entry in group.entries:
        suffix = PurePosixPath(entry.name).suffix.lower()
        try:
            if suffix in layout.suffixes:
                blobs.append(Blob(f"{path}/{entry.name}", archive.read(entry)))
            elif suffix == ".json" and in_json:
                captions = captions_in(json.loads(archive.read(entry)), layout.field)
        except ValueError:
            dropped["undecodable"] += 1
    if blobs:
        yield Record(f"{path}/{group.key}", tuple(blobs), captions)


def _of_rows(rows: Rows, layout: Layout, dropped: Counter[str]) -> Iterator[Record]:
    schema = schema_of(rows.path)
    media = media_columns(schema)
    wanted = CAPTIONS if layout.field is None else (layout.field,)
    texts = [name for name in schema.names if name in wanted and name not in media]
    if layout.texts and layout.field and not texts:
        raise UserError(
            f"{rows.path} has no column {layout.field!r} but {', '.join(schema.names)}; name one "
            "with --field"
        )
    read = rows.read([*media, *texts] if layout.texts else media, ROWS)
    try:
        for number, row in enumerate(read):
            blobs = tuple(blob for name in media for blob in
                          blobs_in(row[name], name, rows.path.parent, layout, dropped))  # fmt: skip
            if blobs:
                yield Record(f"{rows} row {number}", blobs, captions_in(row, layout.field))
            elif all(row[name] is None for name in media):
                dropped["empty row"] += 1
    except UserError:
        dropped["damaged row group"] += 1


def blobs_in(
    value: Any, name: str, folder: Path, layout: Layout, dropped: Counter[str]
) -> Iterator[Blob]:
    """Yield the media of a value: bytes, {bytes, path}, a path from the folder, or a list of them.

    Args:
        name: Of the column.
        folder: Where its table lies.
        dropped: Counts bytes of no known format, and files that are missing.
    """
    match value:
        case list():
            for one in value:
                yield from blobs_in(one, name, folder, layout, dropped)
        case {"bytes": bytes() as data, **others}:
            yield from _named(data, str(others.get("path") or name), layout, dropped)
        case {"path": str() as path}:
            yield from _beside(path, folder, layout, dropped)
        case bytes():
            yield from _named(value, name, layout, dropped)
        case str():
            yield from _beside(value, folder, layout, dropped)


def _named(data: bytes, name: str, layout: Layout, dropped: Counter[str]) -> Iterator[Blob]:
    """Yield data under a name that tells its kind."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in layout.suffixes:
        suffix = suffix_of(data)
    if suffix is None:
        dropped["undecodable"] += 1
    elif suffix in layout.suffixes:
        yield Blob(f"{name}{suffix}", data)


def _beside(name: str, folder: Path, layout: Layout, dropped: Counter[str]) -> Iterator[Blob]:
    if has_suffix(Path(name), layout.suffixes - layout.texts):
        path = folder / name
        if path.is_file():
            yield Blob(name, path)
        else:
            dropped["named file is missing"] += 1


def media_columns(schema: Any) -> list[str]:
    """Return the columns that may hold media: bytes, structs with bytes or a path, or paths."""
    return [field.name for field in schema if _may_hold(field.type) or _is_path(field)]


def _may_hold(kind: Any) -> bool:
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind):
        return _may_hold(kind.value_type)
    if types.is_struct(kind):
        names = {kind.field(i).name for i in range(kind.num_fields)}
        return "bytes" in names and "path" in names
    return types.is_binary(kind) or types.is_large_binary(kind)


def _is_path(field: Any) -> bool:
    """Tell whether a column of texts holds paths, by the names that are usual."""
    from pyarrow import types

    if not (types.is_string(field.type) or types.is_large_string(field.type)):
        return False
    return field.name in ("image", "audio", "video") or field.name.endswith("file_name")
