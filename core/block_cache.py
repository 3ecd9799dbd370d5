"""A bounded folder of pieces of remote files, shared by all processes of a machine."""

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from core.files import new_file


class BlockCache:
    """Files by name, the least recently used of which go when a new one needs the room."""

    def __init__(self, folder: str | Path, limit: int):
        """Use a folder.

        Args:
            limit: Bytes that its files may hold together.
        """
        self.folder, self.limit = Path(folder).expanduser(), limit

    def piece(
        self, name: str, start: int, stop: int, fetch: Callable[[], bytes], *, fresh: bool = False
    ) -> bytes:
        """Return the bytes [start, stop) of a block.

        Args:
            name: A digest in hexadecimal, equal for equal content only.
            fetch: Returns the whole block if it is not here.
            fresh: Fetch it in any case, as what is here turned out to be damaged.
        """
        found = None if fresh else self._read(name, start, stop)
        if found is not None:
            return found
        with self._lock(name):
            # Another process may have fetched it while this one waited.
            found = None if fresh else self._read(name, start, stop)
            if found is None:
                block = fetch()
                self._write(name, block)
                found = block[start:stop]
        return found

    def _path(self, name: str) -> Path:
        return self.folder / "blocks" / name[:2] / name

    def _lock(self, name: str) -> FileLock:
        """Return one of 256 locks: processes that want one block fetch it once."""
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / name[:2])

    def _read(self, name: str, start: int, stop: int) -> bytes | None:
        path = self._path(name)
        try:
            with path.open("rb") as file:
                file.seek(start)
                found = file.read(stop - start)
            os.utime(path)  # used just now
        except FileNotFoundError:
            return None
        return found if len(found) == stop - start else None

    def _write(self, name: str, block: bytes) -> None:
        """Keep a block; the lock makes the bound one of all processes together."""
        with FileLock(self.folder / "lock"):
            self._make_room(len(block))
            with new_file(self._path(name)) as partial:
                partial.write_bytes(block)

    def _make_room(self, size: int) -> None:
        """Remove the least recently used files, what killed processes left among them."""
        files = [(path, path.stat()) for path in self.folder.glob("blocks/*/*")]
        held = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda file: file[1].st_mtime_ns):
            if held + size <= self.limit:
                return
            path.unlink()
            held -= stat.st_size
