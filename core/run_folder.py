"""The folder of a run: one process trains into it at a time, none in the place of another run."""

import errno
import fcntl
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.errors import UserError

LOCK = ".lock"
"""Is there while a run trains, and says which process does."""


def folder_of(checkpoint: str) -> str:
    """Return the folder of the run that a checkpoint belongs to."""
    folder = Path(checkpoint).parent
    return str(folder.parent if folder.name == "steps" else folder)


def check_vacant(out: Path, resume: str | None) -> None:
    """Raise if a run's checkpoints are there, unless it is that run that goes on."""
    names = ("last.ckpt", "best.ckpt", "steps/*.ckpt")
    held = [path for name in names for path in sorted(out.glob(name))]
    if not held or (resume and Path(folder_of(resume)).resolve() == out.resolve()):
        return
    raise UserError(
        f"{out} holds a run already ({held[0].name}), which would be lost; go on with it by"
        f" --resume {held[0]}, or choose another --out"
    )


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other training commands out of a folder, on all machines that see it.

    The lock is the operating system's: it ends with the process, whatever ends that, and processes
    that are forked to load data do not hold it.

    Raises:
        UserError: if another process trains into this folder.
    """
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    path = out / LOCK
    file = _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        if file is not None:
            os.close(file)
        if new:
            with suppress(OSError):  # it holds a run by now
                out.rmdir()


def _acquire(path: Path) -> int | None:
    """Lock a file and return its descriptor; None on storage that has no locks."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(file, 200, 0).decode(errors="replace").strip()
            os.close(file)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                who = f" ({holder})" if holder else ""
                raise UserError(
                    f"{path.parent} is being trained into by another process{who}; wait for it,"
                    " stop it, or choose another --out"
                ) from None
            warnings.warn(
                f"{path.parent} cannot be locked ({error.strerror}); start no second run in it",
                stacklevel=4,
            )
            return None
        if _is_still(path, file):
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return file
        os.close(file)  # whoever held it took it away in between


def _is_still(path: Path, file: int) -> bool:
    """Tell whether a path is that of an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
