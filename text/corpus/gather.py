"""The files of a domain as plain files of this machine: fetched from URLs, unpacked."""

import gzip
import hashlib
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import new_file
from core.sources import find_files
from core.storage import HOPELESS, is_url
from core.tables import listed
from text.charsets import plain_files
from text.corpus.domains import SUFFIXES, Place

PACKED = {".txt", ".jsonl"}
"""What may stand before .gz."""


def gathered(
    place: Place, scratch: Path, dropped: Counter[str], encoding: str | None = None
) -> Iterator[Path]:
    """Yield the files at a path or URL that may hold documents, sorted; text as UTF-8.

    Args:
        place: A file, a folder or a URL.
        scratch: Folder for copies of what is remote or packed; those that are there are used again.
        dropped: Counts of files by reason, filled while they are drawn.
        encoding: Of text without a byte order mark; by default UTF-8.
    """
    source = _fetched(str(place), scratch) if is_url(place) else Path(place)
    for path in find_files(source, SUFFIXES, dropped):
        if not listed(path):
            dropped["file of a cache"] += 1
            continue
        plain = _unpacked(path, scratch) if path.suffix.lower() == ".gz" else path
        if plain is None:
            dropped["other kind of file"] += 1
        elif plain.stat().st_size == 0:
            dropped["empty file"] += 1
        elif plain.suffix.lower() in PACKED:
            yield from plain_files([plain], scratch, dropped, encoding)
        else:
            yield plain


def _unpacked(path: Path, scratch: Path) -> Path | None:
    """Unpack a file; one that holds no text or records is None."""
    inner = Path(path.stem)
    if inner.suffix.lower() not in PACKED:
        return None
    known = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    plain = scratch / f"{known}{inner.suffix.lower()}"
    if not plain.exists():
        try:
            with new_file(plain) as partial, gzip.open(path) as packed, partial.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{path} is no whole gzip file ({error}); pack it again") from None
    return plain


def _fetched(url: str, scratch: Path) -> Path:
    """Copy what lies at a URL to this machine, as a folder."""
    folder = scratch / f"remote-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    if folder.exists():
        return folder
    try:
        system, names, root = _listing(url)
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES | {".json"}:
                relative = name[len(root) :].lstrip("/") if name != root else Path(name).name
                _copy(system, name, folder / relative)
    except HOPELESS as error:
        raise UserError(f"{url} cannot be read ({_line(error)}); check address and keys") from None
    except Exception as error:
        raise UserError(
            f"{url} cannot be read ({_line(error)}); check address, keys and network"
        ) from error
    if not folder.exists():
        raise UserError(
            f"{url} holds no {', '.join(sorted(SUFFIXES))} among its {len(names)} files; name"
            " another place"
        )
    return folder


def _listing(url: str) -> tuple[Any, list[str], str]:
    """Return the file system, the files at and below a URL, and its path there."""
    import fsspec

    system, root = fsspec.url_to_fs(url)
    root = root.rstrip("/")
    names = [root] if system.isfile(root) else sorted(system.find(root))
    if not names:
        system.info(root)  # says why, if it could not be asked
        raise FileNotFoundError(f"{root} holds nothing")
    return system, names, root


def _copy(system: Any, name: str, target: Path) -> None:
    from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt
    from tenacity import wait_random_exponential as pause

    tries = Retrying(
        stop=stop_after_attempt(5),
        wait=pause(multiplier=0.2, max=10),
        retry=retry_if_not_exception_type(HOPELESS),
        reraise=True,
    )
    with new_file(target) as partial:
        tries(system.get_file, name, str(partial))


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
