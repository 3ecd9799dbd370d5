"""Find every damage of a dataset: python -m core.shards verify data/world."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from core.errors import UserError
from core.manifest import NAME, Manifest, Shard
from core.members import decode_npy, decode_png
from core.shards import BLOCK, ShardReader

DECODERS: Mapping[str, Callable[[bytes], object]] = {
    "png": decode_png,
    "flac": lambda data: soundfile.read(io.BytesIO(data)),
    "npy": decode_npy,
    "txt": bytes.decode,
    "json": json.loads,
}
"""Last suffix of a member -> what must be able to read it."""


@dataclass(frozen=True)
class Problem:
    """One damage."""

    where: str
    """Shard, with the key of the sample if it is of one."""
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def verify(path: Path, decode: bool = True) -> None:
    """Read all of a dataset, or of every dataset below a folder, and list what is damaged.

    Args:
        path: Folder with a manifest.json, or with such folders somewhere below.
        decode: Also decode each member by its suffix; without it bytes and structure are checked.
    """
    folders = sorted(found.parent for found in path.rglob(NAME))
    if not folders:
        raise UserError(f"{path} holds no dataset ({NAME} not found); check the path")
    damaged = 0
    for folder in folders:
        problems = list(find_problems(folder, decode=decode))
        damaged += bool(problems)
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{folder}: whole, {Manifest.load(folder).samples} samples")
    if damaged:
        raise UserError(
            f"{damaged} of {len(folders)} datasets are damaged; rebuild them, or train without the"
            " damaged samples: --data.on_error=skip"
        )


def find_problems(folder: Path, *, decode: bool = True) -> Iterator[Problem]:
    """Yield every damage of one dataset, shard by shard."""
    try:
        reader = ShardReader(folder, lenient=True)
    except UserError as error:
        yield Problem(str(folder), str(error))
        return
    yield from _dataset_problems(reader, folder)
    for number, shard in enumerate(reader.manifest.shards):
        path, rows = folder / shard.name, np.flatnonzero(reader.index["shard"] == number)
        if not path.is_file():
            yield Problem(str(path), "is missing")
            continue
        yield from _shard_problems(path, shard, reader.index[rows])
        for position in rows.tolist():
            yield from _sample_problems(reader, position, decode)


def _dataset_problems(reader: ShardReader, folder: Path) -> Iterator[Problem]:
    keys, counts = np.unique(reader.index["key"], return_counts=True)
    for key in keys[counts > 1]:
        yield Problem(str(folder), f"two samples share the key {key}")
    listed = {shard.name for shard in reader.manifest.shards}
    for path in sorted(folder.glob("*.tar")):
        if path.name not in listed:
            yield Problem(str(path), "is not in the manifest")


def _shard_problems(path: Path, shard: Shard, rows: np.ndarray) -> Iterator[Problem]:
    if shard.samples == 0:
        yield Problem(str(path), "holds no sample")
    if len(rows) != shard.samples:
        yield Problem(str(path), f"has {shard.samples} samples, the index lists {len(rows)}")
    if (size := path.stat().st_size) != shard.bytes:
        yield Problem(str(path), f"has {size} bytes, the manifest says {shard.bytes}")
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != shard.sha256:
            yield Problem(str(path), "has another hash than the manifest says")
    yield from _gaps(path, rows)


def _gaps(path: Path, rows: np.ndarray) -> Iterator[Problem]:
    """Yield where something lies between samples: a member that no sample owns."""
    end = 0
    for row in np.sort(rows, order="start"):
        if row["start"] != end:
            yield Problem(
                f"{path}: sample {row['key']}", f"starts at byte {row['start']}, not {end}"
            )
        end = row["stop"]
    if path.stat().st_size - end < 2 * BLOCK:
        yield Problem(str(path), "is cut off: the end of the tar file is not there")


def _sample_problems(reader: ShardReader, position: int, decode: bool) -> Iterator[Problem]:
    try:
        sample = reader.read(position)
    except UserError as error:
        yield Problem(
            reader.where(position), str(error).removeprefix(reader.where(position)).strip()
        )
        return
    for member, data in sample.items():
        decoder = DECODERS.get(member.rpartition(".")[2]) if decode else None
        if member == "__key__" or decoder is None:
            continue
        try:
            decoder(data)
        except (ValueError, OSError, RuntimeError, SyntaxError, EOFError) as error:
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            yield Problem(reader.where(position), f"{member} cannot be decoded ({line})")
