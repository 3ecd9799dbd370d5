"""Write tar shards in webdataset's format with manifest and offset index, sample by sample.

Memory does not grow with the samples: what the index will say lies in a file until the end.
"""

import hashlib
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.files import new_folder
from core.manifest import Manifest, Shard

INDEX = "index.npy"
COLUMNS = [("shard", "<i8"), ("start", "<i8"), ("stop", "<i8"), ("members", "<u8")]
"""Of the index, before the key and the checksum."""
PER_SHARD = 1000
"""Samples a tar file."""


def write_shards(
    out: str | Path,
    samples: Iterable[Mapping[str, Any]],
    *,
    required: Sequence[str],
    source: str,
    licence: str,
    optional: Sequence[str] = (),
    dropped: Mapping[str, int] | None = None,
    builder: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    per_shard: int = PER_SHARD,
) -> Manifest:
    """Write samples as tar shards with manifest and index; `out` appears whole or not at all.

    Args:
        dropped: Counts by reason, read after the last sample was drawn, so a generator may fill it.
        per_shard: Samples a tar file.
    """
    check_absent(out)
    about = Manifest(
        samples=0,
        shards=(),
        required=tuple(required),
        optional=tuple(optional),
        source=source,
        licence=licence,
        builder=dict(builder or {}),
        card=dict(card or {}),
        fields=dict(fields or {}),
    )
    with new_folder(out) as folder, ShardWriter(folder, about, per_shard) as writer:
        for sample in samples:
            writer.add(sample)
        return writer.finish(dropped or {})


def check_absent(out: str | Path) -> None:
    """Raise unless `out` is free to be written: nothing there, or an empty folder."""
    out = Path(out)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UserError(f"{out} exists already; remove it or choose another output folder")


def checksum(row: np.void, piece: bytes) -> int:
    """Return the CRC-32 of a sample's bytes, its key and which members it has."""
    return zlib.crc32(piece, zlib.crc32(f"{row['key']} {row['members']}".encode()))


class ShardWriter:
    """Takes the samples of a data set one by one; a context that closes its files."""

    def __init__(self, folder: Path, about: Manifest, per_shard: int = PER_SHARD):
        """Begin a data set.

        Args:
            folder: An empty folder, or one to make.
            about: The manifest, but for samples, shards and what was dropped.
            per_shard: Samples a tar file.
        """
        folder.mkdir(exist_ok=True)
        self.folder, self.about, self.per_shard = folder, about, per_shard
        self.samples, self.shards = 0, []
        self._tar: Any = None
        self._open_files = ExitStack()
        self._rows: list[tuple[int, int, int, int, str, int]] = []
        self._keys = _Keys()
        self._index = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, closed by __exit__

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._close_tar()
        self._index.close()

    def add(self, sample: Mapping[str, Any]) -> None:
        """Write a sample behind those before it."""
        mask = _check_sample(sample, self.about.required, self.about.members)
        key = sample["__key__"]
        if self._tar is None:
            self._tar = self._open_tar()
        start = self._tar.tarstream.offset
        self._tar.write(dict(sample))
        self._rows.append((len(self.shards), start, self._tar.tarstream.offset, mask, key, 0))
        self._keys.add(key)
        self.samples += 1
        if len(self._rows) == self.per_shard:
            self._end_shard()

    def finish(self, dropped: Mapping[str, int]) -> Manifest:
        """Write index and manifest.

        Args:
            dropped: Counts by reason.
        """
        if self._rows:
            self._end_shard()
        if not self.samples:
            reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
            raise UserError(f"no usable samples (dropped: {reasons or 'none'}); check the source")
        self._write_index()
        manifest = replace(
            self.about, samples=self.samples, shards=tuple(self.shards), dropped=dict(dropped)
        )
        manifest.save(self.folder)
        return manifest

    def _path(self) -> Path:
        return self.folder / f"{len(self.shards):06d}.tar"

    def _end_shard(self) -> None:
        """Close the tar file, and put what the index says of it aside."""
        self._close_tar()
        np.save(self._index, _with_checksums(self._path(), self._rows))
        self.shards.append(_describe(self._path(), len(self._rows)))
        self._rows.clear()

    def _open_tar(self) -> Any:
        from webdataset.writer import TarWriter

        # A fixed time and owner: webdataset stamps the current time by default.
        options = {"user": "unison", "group": "unison", "mode": 0o644, "mtime": 0, "encoder": False}
        stream = self._open_files.enter_context(self._path().open("wb"))
        return self._open_files.enter_context(TarWriter(stream, **options))

    def _close_tar(self) -> None:
        self._open_files.close()
        self._tar = None

    def _write_index(self) -> None:
        """Write what was put aside as one array, whose keys are as wide as the longest."""
        path, row = self.folder / INDEX, _row(self._keys.longest)
        head = {"descr": row.descr, "fortran_order": False, "shape": (self.samples,)}
        self._index.seek(0)
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, head)
            for _ in self.shards:
                file.write(np.load(self._index).astype(row).tobytes())
        self._keys.check(path)


class _Keys:
    """Sees that keys are unique: rising ones are, others are compared at the end."""

    def __init__(self):
        self.longest, self._rising, self._last = 1, True, ""

    def add(self, key: str) -> None:
        self.longest = max(self.longest, len(key))
        self._rising, self._last = self._rising and key > self._last, key

    def check(self, index: Path) -> None:
        """Raise unless the keys in an index are unique."""
        if not self._rising:
            keys = np.sort(np.load(index)["key"])
            if (same := keys[1:] == keys[:-1]).any():
                raise UserError(
                    f"two samples share a key ({keys[same.argmax()]!s}); keys must be unique"
                )


def _row(longest: int) -> np.dtype:
    """Return the type of an index's row whose key has so many characters at most."""
    return np.dtype([*COLUMNS, ("key", f"<U{longest}"), ("crc", "<u4")])


def _check_sample(
    sample: Mapping[str, Any], required: Sequence[str], members: Sequence[str]
) -> int:
    key = sample["__key__"]
    if not key or not set(key).isdisjoint("./\\"):
        raise UserError(f"sample key {key!r} must be a name without dots and slashes")
    names = [name for name in sample if name != "__key__"]
    if too_long := [name for name in names if len(f"{key}.{name}".encode()) > 100]:
        raise UserError(f"sample {key} has member names {too_long} of over 100 bytes with the key")
    if missing := [name for name in required if name not in names]:
        raise UserError(f"sample {key} lacks the required members {missing}")
    if unknown := [name for name in names if name not in members]:
        raise UserError(f"sample {key} has members {unknown} that the dataset does not declare")
    return sum(1 << members.index(name) for name in names)


def _describe(path: Path, samples: int) -> Shard:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Shard(path.name, samples, path.stat().st_size, digest)


def _with_checksums(path: Path, rows: Sequence[tuple]) -> np.ndarray:
    """Return the rows of a tar file's samples with the checksum of each."""
    index = np.array(rows, dtype=_row(max(len(key) for *_, key, _ in rows)))
    with path.open("rb") as stream:
        for row in index:
            stream.seek(row["start"])
            row["crc"] = checksum(row, stream.read(row["stop"] - row["start"]))
    return index
