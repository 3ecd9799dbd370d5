"""The user's files: checked before they are read, and never half-written."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import UserError


def existing_file(path: str | Path) -> Path:
    """Return the path of a file that can be read and is not empty, or say what is wrong."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder but a file is needed; name one file in it")
    if not path.exists():
        raise UserError(f"{path} does not exist; check the path")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path} may not be read; change its permissions or name another file")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes); name a file with content")
    return path


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block succeeds.

    The suffix is kept, as many writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut, as fsync does for a file's content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(path: Path, name: Path) -> None:
    """Give a file, or the files of a folder, a second name; the first may then be replaced."""
    if path.is_file():
        os.link(path, name)
        return
    with new_folder(name) as partial:
        for file in path.iterdir():
            os.link(file, partial / file.name)


def discard(path: Path) -> None:
    """Remove a file or a folder, if there is one; a kill leaves no half of a folder."""
    if path.is_dir():
        hidden = path.with_name(f".{path.name.lstrip('.')}.{os.getpid()}.partial")
        shutil.rmtree(path.rename(hidden))
    else:
        path.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place when the block succeeds.

    Raises:
        ValueError: if a file stands at `path`, or a folder that is not empty; with `replace` the
            folder is exchanged for the new one.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file but a folder is to be written; choose another --out")
    if not replace and path.exists() and any(path.iterdir()):
        raise UserError(f"{path} is not empty; choose a new folder with --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    replaced = path.with_name(f".{path.name}.{os.getpid()}.replaced")
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.replace(replaced)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
