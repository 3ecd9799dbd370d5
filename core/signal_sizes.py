"""Sizes of a dataset's signals, read from its manifest and first samples, and set in the model.

A model has to be as large as the signals that it is trained on. So no configuration repeats what
the shards hold: a data module's `link` measures them and sets the model's options.
"""

import io
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import soundfile

from core.errors import UserError
from core.members import decode_clip, decode_png
from core.shards import ShardReader
from core.storage import DataLost, Remote, below

T = TypeVar("T")
LOOK = 64
"""Sounds measured at most where the manifest does not give their length."""


class Sound(NamedTuple):
    """Size of a dataset's sounds."""

    rate: int
    """Hz."""
    length: int
    """Samples of the longest."""


class Clip(NamedTuple):
    """Size of a dataset's clips."""

    frames: int
    side: int
    """Pixels."""


UNKNOWN = Sound(8000, 10_400)
"""Of a dataset without sounds."""


def open_training(config: Any) -> ShardReader:
    """Open the training split that a training command's parsed options name."""
    data = config.data
    remote = Remote(**vars(data.remote)) if data.get("remote") else None
    return ShardReader(below(data.root, data.train), remote=remote)


def picture_side(reader: ShardReader, member: str = "png") -> int | None:
    """Return the side in pixels of a dataset's pictures; None if it holds none."""
    picture = _first(reader, member, decode_png)
    return None if picture is None else _square(reader, member, *picture.shape[1:])


def clip_size(reader: ShardReader, member: str = "video.npy") -> Clip | None:
    """Return frames and side of a dataset's clips; None if it holds none."""
    clip = _first(reader, member, decode_clip)
    return None if clip is None else Clip(len(clip), _square(reader, member, *clip.shape[2:]))


def sound_size(reader: ShardReader, member: str = "flac", at_least: float = 1.3) -> Sound | None:
    """Return rate and length of a dataset's sounds; None if it holds none.

    Args:
        reader: The dataset.
        member: What holds the sounds.
        at_least: Seconds where the manifest gives no length: shorter sounds are padded.
    """
    fields = reader.manifest.fields
    if {"rate", "seconds"} <= fields.keys() and reader.has(member).any():
        return Sound(int(fields["rate"]), round(fields["rate"] * fields["seconds"]))
    found = list(islice(_readable(reader, member, _measure_sound), LOOK))
    if not found:
        return None
    rate = found[0].rate
    return Sound(rate, max(round(at_least * rate), *(sound.length for sound in found)))


def sound_asked_for(found: Sound, rate: int | None, seconds: float | None) -> Sound:
    """Return the size that sounds are read with: the data's where the user asks for no other."""
    rate = found.rate if rate is None else rate
    return Sound(rate, found.length if seconds is None else round(rate * seconds))


def sound_of(
    root: str, split: str, remote: Remote, rate: int | None, seconds: float | None
) -> Sound:
    """Return the size that the sounds of a dataset are read with."""
    if rate is not None and seconds is not None:
        return Sound(rate, round(rate * seconds))
    found = sound_size(ShardReader(below(root, split), remote=remote)) or UNKNOWN
    return sound_asked_for(found, rate, seconds)


def set_from_data(options: Any, default: Any, told: str, **values: Any) -> None:
    """Set a model's options to what the data holds.

    Args:
        options: Parsed options of one configuration class.
        default: An instance of the class with its defaults; another value is the user's own.
        told: Where the options stand and what the data is, for the message.
        values: What the data decides.

    Raises:
        UserError: if the user asks for another value.
    """
    for name, value in values.items():
        asked = options[name]
        if asked not in (getattr(default, name), value):
            raise UserError(
                f"{name} is {asked} but {told} {value}; leave the option out, or build the shards "
                f"with {asked}"
            )
        options[name] = value


def _first(reader: ShardReader, member: str, decode: Callable[[bytes], Any]) -> Any:
    """Return the first member that can be decoded; None where no sample has it."""
    return next(_readable(reader, member, decode), None)


def _readable(reader: ShardReader, member: str, decode: Callable[[bytes], T]) -> Iterator[T]:
    """Yield what can be decoded; what to do with the rest is the training's business."""
    failures, found = [], False
    for position in np.flatnonzero(reader.has(member)).tolist():
        try:
            value = decode(reader.read(position, [member])[member])
        except DataLost:
            raise
        except (ValueError, OSError, RuntimeError, SyntaxError, EOFError) as failure:
            failures.append(f"{reader.where(position)} cannot be decoded ({failure})")
        else:
            found = True
            yield value
    if failures and not found:
        raise UserError(f"{failures[0]}; rebuild the dataset")


def _square(reader: ShardReader, member: str, height: int, width: int) -> int:
    if height != width:
        raise UserError(
            f"{reader.folder} holds {member} of {width}x{height} pixels but models take squares; "
            "rebuild the shards"
        )
    return height


def _measure_sound(data: bytes) -> Sound:
    info = soundfile.info(io.BytesIO(data))
    return Sound(info.samplerate, info.frames)
