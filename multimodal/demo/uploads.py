"""Files of strangers: weighed, read by another process, and never stored by their own name."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from multimodal.demo.reading import pool
from multimodal.media import MEDIA

HEAVIEST = {"text": 20_000, "image": 50_000_000, "audio": 40_000_000, "video": 1_500_000_000}
"""Bytes, pixels, samples of all channels, pixels of all frames that are decoded at most."""
UNITS = {"text": "bytes", "image": "pixels", "audio": "samples", "video": "pixels in all frames"}
SHOWN = 60
"""Characters of a file's own name that a message repeats."""


def receive(
    modality: str, data: bytes, name: str = "", size: Mapping[str, int] | None = None
) -> Any:
    """Return the signal in a file's content.

    Args:
        modality: What it should hold.
        data: Its bytes.
        name: What its sender calls it; for messages only.
        size: Of the signal, as `Unison.sizes` has it.

    Raises:
        ValueError: if it holds something else, or more than is decoded here.
    """
    with tempfile.TemporaryDirectory(prefix="unison-upload-") as folder:
        path = Path(folder) / "upload"
        path.write_bytes(data)
        return read_weighed(modality, path, name, size)


def read_weighed(
    modality: str, path: Path, name: str = "", size: Mapping[str, int] | None = None
) -> Any:
    """Return the signal in a file, unless it is too much; messages call it `name`.

    Raises:
        ValueError: for what cannot be read, or not in the time and memory that a file may take.
        QueueFull: if too many files wait to be read.
    """
    called = printable(name) or f"the {modality}"
    try:
        return pool().run(weigh_and_read, modality, path, dict(size or {}))
    except ValueError as error:
        line = str(error).replace(str(path), called)
        raise UserError(line if called in line else f"{called}: {line}") from None


def weigh_and_read(modality: str, path: Path, size: Mapping[str, int] | None = None) -> Any:
    """Return the signal in a file whose weight is allowed, here and now."""
    try:
        weight = MEDIA[modality].weigh(path)
        if weight > HEAVIEST[modality]:
            raise UserError(
                f"{path} holds {weight:,} {UNITS[modality]} but {HEAVIEST[modality]:,} are the most"
                " here; send a smaller one"
            )
        return MEDIA[modality].read(path, **(size or {}))
    except OSError as error:
        raise UserError(str(error)) from None


def typed(text: str) -> str:
    """Return what a person typed as a caption: never what a file of that name holds."""
    return MEDIA["text"].read(f"{text} ")  # with a blank behind, it names no file


def printable(name: str) -> str:
    """Return a name as a message may show it: one short line without control characters."""
    plain = "".join(c if c.isprintable() else "?" for c in Path(name or "").name)
    return plain if len(plain) <= SHOWN else f"{plain[:SHOWN]}..."
