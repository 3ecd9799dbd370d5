"""Tar shards in webdataset's format with manifest and offset index: write, seek to any sample.

    python -m core.shards verify data/world

A sample is a dictionary `{"__key__": "000012", "png": b"...", "txt": b"..."}`; its members lie side
by side in one tar file as `000012.png`, `000012.txt`. The same samples give the same bytes.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.cli import command, positional
from core.errors import UserError
from core.manifest import Manifest
from core.members import load_array
from core.shard_writer import INDEX, check_absent, checksum, write_shards
from core.storage import LocalFolder, Remote, RemoteFolder, folder_at

__all__ = [
    "BLOCK",
    "Sample",
    "ShardReader",
    "check_absent",
    "load_index",
    "write_shards",
]
BLOCK = 512
"""Bytes of a tar file's header, and the unit that contents are padded to."""
Sample = dict[str, Any]
"""`__key__` -> str and each member's extension -> bytes."""


def _entries(piece: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a piece of a tar, as POSIX.1-1988 (ustar) lays it out.

    Python's tarfile takes ten times as long, most of it on fields that are of no use here.
    """
    place = 0
    while place < len(piece):
        header = piece[place : place + BLOCK]
        if header[257:262] != b"ustar":
            raise UserError(f"no file header at byte {place}")
        name, size = header[:100].rstrip(b"\0").decode(), int(header[124:135], 8)
        if size < 0:
            raise UserError(f"a file of {size} bytes at byte {place}")
        start = place + BLOCK
        yield name, piece[start : start + size]
        place = start + -(-size // BLOCK) * BLOCK


class ShardReader:
    """Random access to the samples of a dataset, in a folder or below a URL, by position."""

    def __init__(self, folder: str | Path, *, lenient: bool = False, remote: Remote | None = None):
        """Open a dataset.

        Args:
            lenient: Let shards be missing or of another size, for who looks for damage.
            remote: How a URL is read.
        """
        self.folder = folder_at(folder, remote)
        self.manifest = Manifest.load(folder)
        self.index = load_index(self.folder, self.manifest)
        for shard in () if lenient else self.manifest.shards:
            self.folder.check(shard.name, shard.bytes)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def keys(self) -> list[str]:
        """The samples' keys in order."""
        return self.index["key"].tolist()

    @property
    def sizes(self) -> list[int]:
        """Samples of each shard."""
        return [shard.samples for shard in self.manifest.shards]

    def has(self, member: str) -> np.ndarray:
        """Which samples hold a member: Bool[N]."""
        if member not in self.manifest.members:
            return np.zeros(len(self), dtype=bool)
        bit = np.uint64(1 << self.manifest.members.index(member))
        return (self.index["members"] & bit) != 0

    def where(self, position: int) -> str:
        """Name a sample for an error message: its shard and key."""
        row = self.index[position]
        shard = self.manifest.shards[row["shard"]]
        return f"{self.folder.where(shard.name)}: sample {row['key']}"

    def read(self, position: int, members: Iterable[str] | None = None) -> Sample:
        """Read one sample, or only some of its members: `{"__key__": ..., extension: bytes}`."""
        row = self.index[position]
        names = [
            name
            for bit, name in enumerate(self.manifest.members)
            if int(row["members"]) >> bit & 1 and (members is None or name in members)
        ]
        key = str(row["key"])
        found = self._extract(position, {f"{key}.{name}": name for name in names})
        if missing := [name for name in names if name not in found]:
            raise UserError(
                f"{self.where(position)} lacks {missing}, which the manifest promises; "
                "rebuild the dataset"
            )
        return {"__key__": key} | found

    def _extract(self, position: int, names: Mapping[str, str]) -> dict[str, bytes]:
        piece = self._piece(self.index[position], position)
        try:
            return {names[name]: data for name, data in _entries(piece) if name in names}
        except ValueError as error:
            raise UserError(f"{self.where(position)} is damaged ({error}); rebuild") from error

    def _piece(self, row: np.void, position: int) -> bytes:
        """Return a sample's bytes, whose checksum agrees; a copy of them is fetched once more."""
        shard = self.manifest.shards[row["shard"]]
        for fresh in (False, True):
            piece = self.folder.piece(shard, int(row["start"]), int(row["stop"]), fresh=fresh)
            # Datasets of older versions have no checksums.
            if "crc" not in (row.dtype.names or ()) or checksum(row, piece) == row["crc"]:
                return piece
        raise UserError(
            f"{self.where(position)} is damaged (its bytes have another checksum); rebuild"
        )


def load_index(folder: LocalFolder | RemoteFolder, manifest: Manifest) -> np.ndarray:
    """Read a dataset's index: where each sample lies, what it is called, which members it has."""
    path = folder.where(INDEX)
    try:
        with folder.open(INDEX) as file:
            index = load_array(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); rebuild the dataset") from error
    if index.dtype.names is None or not {"shard", "start", "stop"} <= set(index.dtype.names):
        raise UserError(f"{path} is no index of samples; rebuild the dataset")
    if len(index) != manifest.samples:
        raise UserError(
            f"{path} lists {len(index)} samples but the manifest {manifest.samples}; "
            "rebuild the dataset"
        )
    sizes = np.array([shard.bytes for shard in manifest.shards])
    if not (index["shard"] < len(sizes)).all() or not (index["shard"] >= 0).all():
        raise UserError(f"{path} names shards that the manifest does not; rebuild the dataset")
    start, stop = index["start"], index["stop"]
    if not ((start >= 0) & (start < stop) & (stop <= sizes[index["shard"]])).all():
        raise UserError(f"{path} points outside of its shards; rebuild the dataset")
    return index


if __name__ == "__main__":
    from core.shard_check import verify

    command({"verify": verify}, positional(sys.argv[1:], "--path"))
