"""What people give to `Unison.generate`: paths, bytes, open files, and whatever notebooks hold."""

import io
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Number
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from core.errors import UserError
from multimodal.arrays import is_picture, to_array, to_clip, to_picture, to_recording
from multimodal.media import MEDIA

ARRAYS, RATES = ("array", "raw", "audio", "samples"), ("sampling_rate", "sample_rate", "rate")
"""Names of samples and rate in a dictionary, as datasets and transformers have them."""
FORMS = {
    "text": "a string, or the path, bytes or open file of a text",
    "image": "a path, bytes, an open file, a Pillow picture, or an array [H W 3] or [3 H W]",
    "audio": "a path, bytes, an open file, (rate, samples), or a dictionary of both",
    "video": "a path, bytes, an open file, an array [F H W 3] or [F 3 H W], or a list of pictures",
}
NO_RATE = "give (rate, samples), or a dictionary with array and sampling_rate"


def to_signal(modality: str, value: Any, **size: int) -> Any:
    """Return one signal of a modality, as the towers take it, from any form that FORMS names.

    Args:
        modality: What the value holds.
        value: In one of those forms.
        size: Of the signals in training, as `Unison.sizes` gives it.
    """
    if isinstance(value, Mapping):
        value = _of_mapping(modality, value)
    if hasattr(value, "get_all_samples"):  # torchcodec's AudioDecoder, as datasets gives it
        decoded = value.get_all_samples()
        value = (decoded.sample_rate, decoded.data)
    if isinstance(value, str):
        return MEDIA[modality].read(value, **size)
    if isinstance(value, os.PathLike):
        return MEDIA[modality].read(Path(value), **size)
    if hasattr(value, "read"):
        return _of_content(modality, _content(modality, value), _name_of(modality, value), size)
    if isinstance(value, bytes | bytearray | memoryview):
        return _of_content(modality, bytes(value), f"the {modality}", size)
    match modality:
        case "image" if _is_numbers(value) or isinstance(value, Image.Image):
            return to_picture(value, **size)
        case "video" if _is_numbers(value) or isinstance(value, Image.Image) or _is_list(value):
            return to_clip(value, **size)
        case "audio" if _is_numbers(value):
            return _of_sound(value, size)
    raise UserError(f"{modality} is a {type(value).__name__} but must be {FORMS[modality]}")


def split_inputs(given: Mapping[str, Any], samples: int | None = None) -> list[dict[str, Any]]:
    """Return one dictionary for each input, where any modality comes as a list or a batch of them.

    Lists must be of one length; what comes alone goes with each.

    Args:
        given: Modality -> an input, or several.
        samples: Length of a waveform that `Unison.generate` makes; a batch of those may be given.
    """
    lists = {name: several(name, value, samples) for name, value in given.items()}
    lengths = {name: len(values) for name, values in lists.items() if values is not None}
    count = max(lengths.values(), default=1)
    if any(length not in (1, count) for length in lengths.values()):
        told = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise UserError(f"inputs come in lists of different lengths ({told}); give as many of each")
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, values in lists.items():
        for number, row in enumerate(rows):
            row[name] = given[name] if values is None else values[number % len(values)]
    return rows


def several(modality: str, value: Any, samples: int | None = None) -> list[Any] | None:
    """Return a list of inputs, or None if a value is one input."""
    if isinstance(value, Iterator) and not hasattr(value, "read"):
        value = list(value)
    if modality == "text" and isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.ndarray | Tensor):
        return list(value) if _is_batch(modality, value, samples) else None
    if not _is_list(value):
        return None
    if not len(value):
        raise UserError(f"{modality} is an empty list; leave it out, or give something")
    first = value[0]
    numbers = modality != "text" and isinstance(first, Number | list | tuple)
    pair = modality == "audio" and _rate_and_samples(value) is not None
    frames = modality == "video" and is_picture(first)
    of_pairs = modality == "audio" and isinstance(first, list | tuple) and not pair
    return None if pair or frames or (numbers and not of_pairs) else list(value)


def _is_batch(modality: str, value: Any, samples: int | None) -> bool:
    match modality:
        case "image":
            return value.ndim == 4
        case "video":
            return value.ndim == 5
        case _:
            return value.ndim == 2 and value.shape[1] == samples and _is_float(value)


def _of_mapping(modality: str, value: Mapping[str, Any]) -> Any:
    """Return what a dictionary of datasets, transformers or Gradio holds."""
    array = next((value[name] for name in ARRAYS if value.get(name) is not None), None)
    rate = next((value[name] for name in RATES if value.get(name) is not None), None)
    if modality == "audio" and array is not None:
        return array if rate is None else (rate, array)
    for name in ("bytes", "path"):
        if value.get(name) is not None:
            return value[name]
    raise UserError(
        f"{modality} is a dictionary of {', '.join(map(str, value)) or 'nothing'} but must have "
        "path or bytes" + (", or array and sampling_rate" if modality == "audio" else "")
    )


def _content(modality: str, file: Any) -> str | bytes:
    try:
        return file.read()
    except ValueError as error:  # it is closed, or open as text
        name = _name_of(modality, file)
        raise UserError(f"{name} cannot be read ({error}); open it with mode 'rb'") from None


def _of_content(modality: str, data: str | bytes, name: str, size: Mapping[str, int]) -> Any:
    """Return the signal in a file's content."""
    if modality == "text":
        return MEDIA["text"].read(f"{_decoded(data, name)} ")  # with the blank it names no file
    if isinstance(data, str):
        raise UserError(f"{name} is open as text; open it with mode 'rb'")
    with tempfile.TemporaryDirectory(prefix="unison-input-") as folder:
        path = Path(folder) / "input"
        path.write_bytes(data)
        with _called(path, name):
            return MEDIA[modality].read(path, **size)


def _of_sound(value: Any, size: Mapping[str, int]) -> Float[Tensor, "S"]:
    """Return the waveform of (rate, samples), in either order, or of one that a run has made."""
    pair = _rate_and_samples(value) if isinstance(value, Sequence) else None
    if pair is not None:
        return _of_content("audio", to_recording(pair[1], pair[0]), "the audio", size)
    array = to_array(value, "audio")
    wave = array[0] if array.ndim == 2 and len(array) == 1 else array
    if wave.ndim == 1 and _is_float(wave) and len(wave) == size.get("samples"):
        return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
    raise UserError(
        f"the audio is an array of shape {list(array.shape)} without its rate; {NO_RATE}"
    )


def _rate_and_samples(value: Sequence[Any]) -> tuple[Any, Any] | None:
    """Return the rate and the samples of a pair, whichever comes first; None if it is no pair."""
    if len(value) != 2:
        return None
    scalar = [isinstance(x, Number) or getattr(x, "ndim", None) == 0 for x in value]
    if sum(scalar) != 1 or isinstance(value[scalar.index(False)], str):
        return None
    return value[scalar.index(True)], value[scalar.index(False)]


@contextmanager
def _called(path: Path, name: str) -> Iterator[None]:
    """Let messages and warnings call a temporary file by its name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except UserError as error:
            raise UserError(str(error).replace(str(path), name)) from None
    for warning in caught:
        told = str(warning.message).replace(str(path), name)
        warnings.warn(told, warning.category, stacklevel=7)


def _decoded(data: str | bytes, name: str) -> str:
    try:
        return data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 (byte {error.start}); decode it first") from None


def _name_of(modality: str, file: Any) -> str:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and not isinstance(file, io.BytesIO) else f"the {modality}"


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _is_numbers(value: Any) -> bool:
    return hasattr(value, "__array__") or isinstance(value, list | tuple)


def _is_float(value: Any) -> bool:
    return value.is_floating_point() if isinstance(value, Tensor) else value.dtype.kind == "f"
