"""Where a machine keeps what is made or fetched once: the user's cache, else a temporary folder."""

import os
import stat
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from core.errors import UserError


def cache_folder() -> Path:
    """Return the first folder that takes files; containers often have no home, or none to write.

    Raises:
        UserError: if there is none.
    """
    for folder in cache_folders():
        if _takes_files(folder):
            return folder
    raise UserError("no folder takes files; name one in XDG_CACHE_HOME that can be written")


def cache_folders() -> Iterator[Path]:
    """Yield the folders that may keep files, the best first; they may not be there yet.

    These are unison below XDG_CACHE_HOME, else below ~/.cache, and then a temporary folder of this
    user's own.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if Path(named).is_absolute():  # others are to be ignored (XDG base directory specification)
        yield Path(named) / "unison"
    else:
        home = Path("~").expanduser() if _has_home() else None
        if home is not None:
            yield home / ".cache" / "unison"
    try:
        yield _temporary()
    except OSError:  # no folder for temporary files either
        return


def _has_home() -> bool:
    try:
        return Path.home().is_absolute()
    except RuntimeError:  # neither HOME nor a line in passwd
        return False


@cache
def _temporary() -> Path:
    """Return a folder for temporary files that nobody else can write into."""
    folder = Path(tempfile.gettempdir()) / f"unison-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:  # a file, or a link to nothing
        return Path(tempfile.mkdtemp(prefix="unison-"))
    return folder if _is_ours(folder.lstat()) else Path(tempfile.mkdtemp(prefix="unison-"))


def _is_ours(status: os.stat_result) -> bool:
    """Tell whether it is a folder, no link, of this user, that nobody else may write into."""
    shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not shared


def _takes_files(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
