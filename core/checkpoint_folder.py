"""A checkpoint as a folder, written by all ranks at once: each its own rows, and one file the rest.

    last.ckpt/
        index.json               names and hashes of the files that count
        plain-5be0c7....pt       the usual dictionary, with a name in place of each sharded tensor
        rank-0000-91d3aa....pt   rank 0's rows of the sharded tensors, by name
        rank-0001-e01c22....pt

A file is named by its hash, so a save never writes over the one before. The index takes its place
last and in one move: a kill at any moment leaves the folder at the old checkpoint or at the new
one. What the index does not name is removed by the next save.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

from core.errors import UserError
from core.files import new_file, sync_folder

INDEX = "index.json"
LAYOUT = 1
"""Layout of a folder; raised when an older reader could misread it."""
ROWS = "rows of"
"""Stands, with a name, where a sharded tensor was."""

Named = tuple[str, str]
"""A file's name, and its SHA-256."""


def is_folder_checkpoint(path: Path) -> bool:
    """Tell whether a path is a checkpoint in the form of a folder."""
    return (path / INDEX).is_file()


def write_folder(
    checkpoint: dict[str, Any], path: Path, rank: int, gather: Callable[[Named], list[Named]]
) -> None:
    """Write this rank's part of a checkpoint; every rank calls it, on storage that all share.

    Args:
        checkpoint: The same on every rank, but for the rows that sharded tensors hold.
        gather: Returns what each rank passed to it, in the order of ranks.

    Raises:
        ValueError: if another rank's file cannot be seen.
    """
    # The first one is no folder of its name before it is whole.
    folder = path if is_folder_checkpoint(path) else path.with_name(f".{path.name}.partial")
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Tensor] = {}
    plain = _without_rows(checkpoint, rows)
    parts = gather(_write(rows, folder, f"rank-{rank:04d}"))
    if rank == 0:
        files = dict([_write(plain, folder, "plain"), *parts])
        _check_all_seen(folder, files)
        _write_index(folder, files)
        if folder != path:
            folder.rename(path)
            sync_folder(path.parent)
        for old in path.iterdir():
            if old.name not in {INDEX, *files}:
                old.unlink()


def read_folder(path: Path) -> dict[str, Any]:
    """Return the checkpoint that a folder holds, its tensors whole, as if one process had saved it.

    Raises:
        ValueError: if a file is missing or changed, or the folder is of another layout.
    """
    files = read_index(path)
    try:
        plain, *ranks = (_read(path / name, digest) for name, digest in files.items())
    except UserError:
        if read_index(path) == files:
            raise
        return read_folder(path)  # a run that goes on has put the next one here meanwhile
    return _with_rows(plain, lambda name: torch.cat([rows[name] for rows in ranks]))


def read_index(path: Path) -> dict[str, str]:
    """Return names and hashes of the files that make up a checkpoint: the plain one, then ranks."""
    if not is_folder_checkpoint(path):
        raise UserError(f"{path} has no {INDEX}, so is no checkpoint; give a last.ckpt of a run")
    try:
        index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        layout, files = index["layout"], dict(index["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path / INDEX} is damaged; restore it, or use another") from error
    if layout != LAYOUT:
        raise UserError(
            f"{path} has layout {layout}, this code reads {LAYOUT}; use the commit that wrote it"
        )
    return files


def folder_size(path: Path) -> int:
    """Return the bytes of the files that count."""
    return sum((path / name).stat().st_size for name in read_index(path))


def save_tensors(value: Any, partial: Path, path: Path) -> None:
    """Write nested plain values and tensors so that they outlast a power cut.

    Args:
        partial: The file to write.
        path: What it will be called, for what is told about a full disk.
    """
    with partial.open("wb") as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:
            # torch hides a write that failed behind a complaint about its own bookkeeping.
            if isinstance(cause := error.__context__, OSError):
                raise OSError(cause.errno, cause.strerror, str(path)) from error
            raise
        file.flush()
        os.fsync(file.fileno())


def _without_rows(value: Any, rows: dict[str, Tensor], name: str = "") -> Any:
    """Take this rank's rows of sharded tensors out of nested values; their names stay."""
    if isinstance(value, DTensor):
        assert value.placements == (Shard(0),), f"{name} is not sharded by rows"
        rows[name] = value.to_local().detach().cpu().clone()
        return {ROWS: name}
    if isinstance(value, Mapping):
        held = {k: _without_rows(v, rows, f"{name}/{k}") for k, v in value.items()}
        return type(value)(held)  # pyright: ignore[reportCallIssue]
    if isinstance(value, list | tuple):
        return type(value)(_without_rows(v, rows, f"{name}/{i}") for i, v in enumerate(value))
    return value


def _with_rows(value: Any, whole: Callable[[str], Tensor]) -> Any:
    """Put tensors back where their names stand."""
    if isinstance(value, Mapping):
        if value.keys() == {ROWS}:
            return whole(value[ROWS])
        return type(value)({k: _with_rows(v, whole) for k, v in value.items()})  # pyright: ignore[reportCallIssue]
    if isinstance(value, list | tuple):
        return type(value)(_with_rows(v, whole) for v in value)
    return value


def _write(value: Any, folder: Path, stem: str) -> Named:
    """Write a file whose name holds the beginning of its hash."""
    partial = folder / f".{stem}.partial"
    save_tensors(value, partial, folder)
    digest = _sha256(partial)
    name = f"{stem}-{digest[:16]}.pt"
    partial.replace(folder / name)
    sync_folder(folder)
    return name, digest


def _check_all_seen(folder: Path, files: dict[str, str]) -> None:
    for name in files:
        if not (folder / name).is_file():
            raise UserError(
                f"{folder / name}, of another rank, cannot be seen from here; --out must be on"
                " storage that all nodes share"
            )


def _write_index(folder: Path, files: dict[str, str]) -> None:
    with new_file(folder / INDEX) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump({"layout": LAYOUT, "files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def _read(path: Path, digest: str) -> Any:
    if not path.is_file():
        raise UserError(f"{path} is missing; restore it, or use another checkpoint")
    if _sha256(path) != digest:
        raise UserError(f"{path} is damaged: it has another hash; restore it")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
