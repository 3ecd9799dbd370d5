"""Documents of shards, as texts and as tokens, in whichever process.

Apart from the command that writes them, as workers find by name what they are to do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.shards import ShardReader
from text.tokenizer import TextTokenizer
from text.tokenizer_files import read_tokenizer

DOCUMENT = "txt"
"""The member of a sample that is a document."""


@dataclass(frozen=True)
class Encoded:
    """A document as tokens."""

    ids: np.ndarray
    """With begin and end: uint16 or uint32."""
    bytes: int
    """Of its UTF-8."""
    characters: int
    """Code points."""


def documents(folder: str | Path) -> Iterator[str]:
    """Yield the documents of a folder of shards, one at a time."""
    reader = ShardReader(folder)
    return (_document(reader, position) for position in range(len(reader)))


def _document(reader: ShardReader, position: int) -> str:
    try:
        return reader.read(position, [DOCUMENT])[DOCUMENT].decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{reader.where(position)} is not UTF-8 (byte {error.start}); build the shards again"
        ) from None


def encoder(
    folder: str | Path, dataset_id: str, tokenizer: Path, digest: str
) -> Callable[[int], Encoded]:
    """Return the function from a document's position to its tokens.

    Args:
        folder: The documents' shards.
        dataset_id: What they are.
        tokenizer: A tokenizer.json.
        digest: Which it is.
    """
    # A process opens both once; the hashes keep it from taking one that was there before.
    read, load = partial(_reader, folder, dataset_id), partial(_codec, tokenizer, digest)
    return partial(_encode, read=read, load=load)


def _encode(
    position: int, *, read: Callable[[], ShardReader], load: Callable[[], TextTokenizer]
) -> Encoded:
    """Read and encode one document, in whichever process."""
    codec, text = load(), _document(read(), position)
    ids = np.array(codec.document(text), dtype=np.uint16 if len(codec) <= 1 << 16 else np.uint32)
    return Encoded(ids, len(text.encode()), len(text))


@lru_cache(maxsize=2)
def _reader(folder: str | Path, dataset_id: str) -> ShardReader:
    return ShardReader(folder)


@lru_cache(maxsize=1)
def _codec(path: Path, digest: str) -> TextTokenizer:
    return read_tokenizer(path)
