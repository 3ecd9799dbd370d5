"""The one table of files: how a signal of each modality is read and written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from audio.files import RATES as SOUND_RATES
from audio.files import (
    SECONDS,
    at_rate,
    padded,
    read_audio,
    read_recording,
    weigh_audio,
    write_audio,
)
from audio.files import SUFFIXES as SOUNDS
from core.canvas import is_cropped, to_square
from core.errors import UserError
from image.files import SUFFIXES as PICTURES
from image.files import read_image, read_pixels, weigh_image, write_image
from text.files import SUFFIXES as TEXTS
from text.files import read_text, weigh_text, write_text
from video.files import DETAIL as FRAME_DETAIL
from video.files import FRAMES, evenly, read_frames, read_video, weigh_video, write_video
from video.files import SUFFIXES as CLIPS

__all__ = [
    "FRAMES",
    "FRAME_DETAIL",
    "MEDIA",
    "SOUND_RATES",
    "SUFFIXES",
    "UNREAD",
    "Medium",
    "audio_noting",
    "check_modalities",
    "evenly",
    "image_noting",
    "video_noting",
]


@dataclass(frozen=True)
class Medium:
    """One modality's files."""

    suffix: str
    """Of the files that are written."""
    suffixes: frozenset[str]
    """Of the files that are read, in small letters."""
    read: Callable[..., Any]
    """A user's file, of any of the kinds that the modality knows, to one signal; options are its
    size (`Unison.sizes`)."""
    write: Callable[..., None]
    """A path and one signal; of sounds their rate, too."""
    weigh: Callable[[str | Path], int]
    """What reading a user's file would have to decode: pixels, samples or bytes."""


MEDIA: dict[str, Medium] = {
    "text": Medium(".txt", TEXTS, read_text, write_text, weigh_text),
    "image": Medium(".png", PICTURES, read_image, write_image, weigh_image),
    "audio": Medium(".wav", SOUNDS, read_audio, write_audio, weigh_audio),
    "video": Medium(".mp4", CLIPS, read_video, write_video, weigh_video),
}
SUFFIXES: dict[str, str] = {
    suffix: name
    for name in ("audio", "video", "image", "text")  # of one that two share the latter is meant
    for suffix in sorted(MEDIA[name].suffixes)
}
"""Kind of file -> modality; a WebP that moves is a video."""
UNREAD = frozenset(
    {".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".jp2", ".jxl", ".psd", ".dng", ".cr2"}
    | {".nef", ".arw", ".wma", ".amr", ".ape", ".wv", ".mid", ".aac", ".m4a", ".aif", ".aiff"}
    | {".caf", ".mka", ".wmv", ".flv", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".ogv", ".vob"}
    | {".rar", ".7z", ".zst", ".h5", ".hdf5", ".npz"}
).difference(SUFFIXES)
"""Of files that hold signals, too, but in ways that are not read."""


def check_modalities(names: list[str]) -> None:
    """Raise unless every name is a modality, and none comes twice."""
    known = ", ".join(MEDIA)
    if not names:
        raise UserError(f"no output is named; choose from {known} with --to")
    for name in names:
        if name not in MEDIA:
            raise UserError(f"{name!r} is no modality; choose from {known} with --to")
    if len(set(names)) < len(names):
        raise UserError(f"{', '.join(names)} names a modality twice; name each once")


def image_noting(path: Path, size: int, changes: set[str]) -> Float[Tensor, "3 S S"]:
    """Read a picture as `read_image` does; note what it suffers."""
    picture = read_pixels(path)[None]
    changes.update(f"pictures {change}" for change in _squared(picture, size))
    return to_square(picture, size, "auto")[0]


def audio_noting(path: Path, rate: int, samples: int, changes: set[str]) -> Float[Tensor, "S"]:
    """Read the beginning of a recording as `read_audio` does; note what it suffers."""
    found = read_recording(path, longest=SECONDS[1])
    wave = at_rate(path, found, rate, "auto")
    if len(wave) > samples or not found.whole:
        changes.add("sounds cut")
    if found.rate != rate:
        changes.add("sounds resampled")
    return padded(wave, samples)


def video_noting(path: Path, size: int, frames: int, changes: set[str]) -> Float[Tensor, "F 3 S S"]:
    """Read a clip as `read_video` does; note what it suffers."""
    clip, count = read_frames(path, frames)
    changes.update(f"clips {change}" for change in _squared(clip, size))
    if count != frames:
        changes.add(f"clips of {'more' if count > frames else 'fewer'} frames")
    return to_square(clip, size, "auto")


def _squared(frames: Float[Tensor, "N 3 H W"], size: int) -> Iterator[str]:
    """Yield what frames suffer when they become squares of `size` pixels."""
    if is_cropped(frames, "auto"):
        yield "cut to a square"
    if min(frames.shape[-2:]) < size:
        yield "enlarged"
