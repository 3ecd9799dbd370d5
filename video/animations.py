"""Moving pictures: GIF, WebP and PNG, decoded by Pillow."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from jaxtyping import Float
from PIL import Image, ImageSequence
from torch import Tensor

from core.pictures import decoding, from_pillow, opened
from video.frames import DETAIL, check_count, check_frame, shown

FORMATS = ("GIF", "WEBP", "PNG")
BRIEF, USUAL = 10, 100
"""Milliseconds: frames that are to be shown for at most `BRIEF` are shown for `USUAL`, as browsers
do, which many files rely on."""


def is_animation(path: Path) -> bool:
    """Tell GIF, WebP and PNG files from others by their first bytes."""
    with path.open("rb") as file:
        head = file.read(12)
    webp = head[:4] == b"RIFF" and head[8:] == b"WEBP"
    return head[:4] == b"GIF8" or webp or head[:8] == b"\x89PNG\r\n\x1a\n"


def weigh(path: Path) -> int:
    """Return how many pixels all frames have, without decoding them."""
    with opened(path, FORMATS) as image:
        check_frame(path, image.size)
        with decoding():
            return image.width * image.height * getattr(image, "n_frames", 1)


def read_animation(path: Path, frames: int) -> tuple[list[Float[Tensor, "3 H W"]], int]:
    """Return so many frames, evenly in time from the first to the last, and how many there are."""
    with opened(path, FORMATS) as image:
        check_frame(path, image.size)
        with decoding():
            count = getattr(image, "n_frames", 1)
        cover = int(getattr(image, "default_image", False))  # shown by what knows no animated PNG
        check_count(path, count - cover)
        numbers = shown(_durations(path, count - cover), frames)
        return _pick(image, [number + cover for number in numbers]), count - cover


def _pick(image: Image.Image, wanted: list[int]) -> list[Float[Tensor, "3 H W"]]:
    """Return the wanted frames; where a broken file has fewer, its last stands in."""
    kept = []
    with decoding():
        for number, frame in enumerate(ImageSequence.Iterator(image)):
            if number in wanted:
                kept += [from_pillow(frame, DETAIL)] * wanted.count(number)
            if number == wanted[-1]:
                break
    return kept + kept[-1:] * (len(wanted) - len(kept))


def _durations(path: Path, count: int) -> list[int]:
    """Return how long each frame is shown, in milliseconds; all alike where it cannot be told.

    Pillow tells it only of frames that it has decoded.
    """
    data = path.read_bytes()
    read = {b"GIF8": _of_gif, b"RIFF": _of_webp, b"\x89PNG": _of_png}[data[:4]]
    found = []
    with suppress(IndexError):  # it ends early
        found.extend(read(data))
    if len(found) != count:
        return [USUAL] * count
    return [USUAL if duration <= BRIEF else duration for duration in found]


def _of_gif(data: bytes) -> Iterator[int]:
    place, delay = 13 + _table(data[10]), 0
    while place < len(data) and data[place] in (0x21, 0x2C):
        if data[place] == 0x21:  # an extension; 0xF9 tells about the next frame
            if data[place + 1] == 0xF9:
                delay = int.from_bytes(data[place + 4 : place + 6], "little") * 10
            place = _behind_blocks(data, place + 2)
        else:
            yield delay
            delay = 0
            place = _behind_blocks(data, place + 11 + _table(data[place + 9]))


def _table(flags: int) -> int:
    """Return the bytes of the colour table that the flags announce."""
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _behind_blocks(data: bytes, place: int) -> int:
    while data[place]:
        place += data[place] + 1
    return place + 1


def _of_webp(data: bytes) -> Iterator[int]:
    place = 12
    while place + 8 <= len(data):
        if data[place : place + 4] == b"ANMF":
            yield int.from_bytes(data[place + 20 : place + 23], "little")
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + size % 2


def _of_png(data: bytes) -> Iterator[int]:
    place = 8
    while place + 8 <= len(data):
        if data[place + 4 : place + 8] == b"fcTL":
            over, under = data[place + 28 : place + 30], data[place + 30 : place + 32]
            seconds = int.from_bytes(over) / (int.from_bytes(under) or 100)
            yield round(1000 * seconds)
        place += 12 + int.from_bytes(data[place : place + 4])
