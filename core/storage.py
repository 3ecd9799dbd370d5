"""Where a dataset lies: a local folder, or a URL that fsspec knows (s3://, gs://, hf://, https://).

Remote shards are read in ranges of a few MiB into a bounded cache on the local disk. Whatever fails
on the way (a connection, a deadline, half an answer) is tried again, later each time. Keys and
endpoints come from where fsspec and its file systems look for them: FSSPEC_S3_ENDPOINT_URL,
AWS_ACCESS_KEY_ID, ~/.config/fsspec/*.json.
"""

import hashlib
import io
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from core.block_cache import BlockCache
from core.cache_folder import cache_folder
from core.errors import UserError

HOPELESS = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, ValueError)
"""What another try would not change: nothing there, no right to it, no such kind of URL."""


class DataLost(UserError):
    """A shard that was there is gone: no sample of it is to blame, and none is skipped."""


@dataclass(frozen=True)
class Remote:
    """How shards on a URL are read; local ones are read as they are."""

    cache: str | None = None
    """Folder of local copies, which several runs may share; by default shards in this machine's
    cache, which is ~/.cache/unison or below XDG_CACHE_HOME."""
    gigabytes: float = 10.0
    """Bound of that folder; it should hold what a window of samples takes."""
    block_mib: float = 4.0
    """Read at once, in MiB: more costs less waiting, less costs fewer bytes that are not used."""
    attempts: int = 8
    """Tries, with growing pauses, before a run stops."""
    timeout: float = 60.0
    """Seconds that one try may take."""

    def __post_init__(self):
        if not 0 < self.block_mib * 2**20 <= self.gigabytes * 1e9:
            raise UserError(
                f"a block of {self.block_mib} MiB must be positive and fit into the cache of"
                f" {self.gigabytes} GB; change block_mib or gigabytes"
            )
        if self.attempts < 1 or self.timeout <= 0:
            raise UserError(
                f"attempts is {self.attempts} and must be at least 1, timeout is {self.timeout} and"
                " must be positive"
            )


class LocalFolder:
    """The files of a folder on this machine."""

    def __init__(self, place: str | Path):
        self.path = Path(place)

    def __str__(self) -> str:
        return str(self.path)

    def where(self, name: str) -> str:
        """Name a file for a message."""
        return str(self.path / name)

    def open(self, name: str) -> io.BufferedIOBase:
        """Open a file; one that is not there is a FileNotFoundError."""
        return (self.path / name).open("rb")

    def check(self, name: str, size: int) -> None:
        """Raise unless a file is there and has its size."""
        path = self.path / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes"
            raise UserError(
                f"{path} {state} but its manifest says {size} bytes; rebuild the dataset"
            )

    def piece(self, shard: Any, start: int, stop: int, *, fresh: bool = False) -> bytes:
        """Return the bytes [start, stop) of a shard; there is no copy that could be stale."""
        path = self.path / shard.name
        try:
            with path.open("rb") as stream:
                stream.seek(start)
                return stream.read(stop - start)
        except OSError as error:
            raise DataLost(
                f"{path} can no longer be read ({error.strerror}); bring the dataset back, then go"
                " on with --resume"
            ) from error


class RemoteFolder:
    """The files below a URL, of which blocks are kept in a bounded local cache."""

    def __init__(self, url: str, remote: Remote):
        self.url, self.remote = url.rstrip("/"), remote
        self.block = int(remote.block_mib * 2**20)
        self.cache = BlockCache(
            remote.cache or cache_folder() / "shards", int(remote.gigabytes * 1e9)
        )

    def __str__(self) -> str:
        return self.url

    def where(self, name: str) -> str:
        """Name a file for a message."""
        return f"{self.url}/{name}"

    def open(self, name: str) -> io.BufferedIOBase:
        """Read a whole file; one that is not there is a FileNotFoundError."""
        return io.BytesIO(self._patiently(partial(_read_whole, self.where(name)), name))

    def check(self, name: str, size: int) -> None:
        """Trust the manifest: asking for the size of ten thousand shards would take minutes."""

    def piece(self, shard: Any, start: int, stop: int, *, fresh: bool = False) -> bytes:
        """Return the bytes [start, stop) of a shard.

        Args:
            shard: Its entry in the manifest; blocks are kept under its hash, so none is stale.
            fresh: Fetch anew what the cache holds.
        """
        parts = []
        for number in range(start // self.block, (stop - 1) // self.block + 1):
            begin, end = number * self.block, min((number + 1) * self.block, shard.bytes)
            read = partial(_read_range, self.where(shard.name), begin, end)
            fetch = partial(self._patiently, read, shard.name)
            inner = (max(start, begin) - begin, min(stop, end) - begin)
            # A shard's hash and the bounds of the piece tell all blocks apart, of any size.
            name = hashlib.sha256(f"{shard.sha256} {begin} {end}".encode()).hexdigest()
            parts.append(self._cached(name, *inner, fetch, fresh=fresh))
        return b"".join(parts)

    def _cached(self, *args: Any, fresh: bool) -> bytes:
        try:
            return self.cache.piece(*args, fresh=fresh)
        except OSError as error:
            raise DataLost(
                f"the cache {self.cache.folder} cannot be used ({error.strerror}); free some space,"
                " or name another folder with --data.remote.cache"
            ) from error

    def _patiently(self, read: Callable[[], bytes], name: str) -> bytes:
        """Read with deadline and repetition; what fails for good is DataLost."""
        from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt
        from tenacity import wait_random_exponential as pause

        tries = Retrying(
            stop=stop_after_attempt(self.remote.attempts),
            wait=pause(multiplier=0.2, max=30),
            retry=retry_if_not_exception_type(HOPELESS),
            reraise=True,
        )
        try:
            return tries(within, self.remote.timeout, read)
        except FileNotFoundError as error:
            if name.endswith(".tar"):
                raise DataLost(
                    f"{self.where(name)} is not there any more; bring it back"
                ) from error
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataLost(
                f"{self.where(name)} cannot be read ({reason}); check address, keys and network,"
                " then go on with --resume"
            ) from error


def folder_at(place: str | Path, remote: Remote | None = None) -> LocalFolder | RemoteFolder:
    """Return the folder at a path or URL."""
    return RemoteFolder(str(place), remote or Remote()) if is_url(place) else LocalFolder(place)


def is_url(place: str | Path) -> bool:
    """Tell a URL from a path."""
    return isinstance(place, str) and "://" in place


def below(place: str | Path, name: str) -> str | Path:
    """Return the folder `name` in a folder at a path or URL."""
    return f"{str(place).rstrip('/')}/{name}" if is_url(place) else Path(place) / name


def within(seconds: float, function: Callable[[], bytes]) -> bytes:
    """Call a function that may hang; after so many seconds it is left alone."""
    answer: queue.SimpleQueue = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put((function(), None))
        except Exception as error:
            answer.put((b"", error))

    threading.Thread(target=run, daemon=True).start()
    try:
        found, error = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
    if error is not None:
        raise error
    return found


def _read_range(url: str, start: int, stop: int) -> bytes:
    import fsspec

    system, path = fsspec.url_to_fs(url)
    found = system.cat_file(path, start=start, end=stop)
    if len(found) != stop - start:
        raise ConnectionError(f"{len(found)} bytes came of {stop - start}")
    return found


def _read_whole(url: str) -> bytes:
    import fsspec

    system, path = fsspec.url_to_fs(url)
    system.invalidate_cache()  # a listing of before the dataset was written anew
    found, size = system.cat_file(path), system.size(path)
    if size is not None and len(found) != size:
        raise ConnectionError(f"{len(found)} bytes came of {size}")
    return found
