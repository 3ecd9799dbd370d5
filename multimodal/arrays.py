"""Pictures, clips and sounds that are in memory: Pillow, NumPy, PyTorch, as notebooks hold them."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Shaped
from PIL import Image
from torch import Tensor

from core.canvas import to_square
from core.errors import UserError
from core.pictures import DETAIL, SIDES, from_pillow
from multimodal.media import FRAME_DETAIL, FRAMES, SOUND_RATES, evenly

CHANNELS = (1, 2, 3, 4)
"""Grey, grey and alpha, RGB, RGBA."""
SLACK = 0.1
"""How far floats may leave their range, as they do after resampling; they are cut there."""
MICROPHONES = 32
"""Most channels of a sound."""
PIXELS = "pixels are uint8 from 0 to 255, bool, or floats from 0 to 1 or from -1 to 1"
FULL_SCALE = {"int8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31, "uint8": 2.0**7}
"""Types of whole samples that recordings have -> the amplitude of full scale."""


def is_picture(value: Any) -> bool:
    """Tell whether a value is one picture, and so a clip's frame, rather than a clip."""
    return isinstance(value, Image.Image) or 2 <= getattr(value, "ndim", 0) <= 3


def to_picture(value: Any, size: int) -> Float[Tensor, "3 H W"]:
    """Return a Pillow picture or an array of pixels as a square of `size` pixels in [-1, 1].

    Arrays are [H W], [H W C] or [C H W] with one to four channels; `core.canvas` cuts the square.
    """
    if isinstance(value, Image.Image):
        pixels = _from_image(value, DETAIL)
    else:
        array = to_array(value, "image")
        array = array[0] if array.ndim == 4 and len(array) == 1 else array
        pixels = _pixels(_in_range(_channels_last(array, "image"), "image"), DETAIL)
    return to_square(pixels[None], size, "auto")[0]


def to_clip(value: Any, size: int, frames: int) -> Float[Tensor, "F 3 H W"]:
    """Return frames in memory as `frames` squares of `size` pixels in [-1, 1], picked evenly.

    Arrays are [F H W C], [F C H W], [C F H W] or, grey, [F H W]; pictures may come as a list.
    """
    if isinstance(value, Image.Image):
        value = _film_of(value)
    if isinstance(value, Sequence):
        pictures = _from_images(value, frames)
    else:
        array = _frames_first(to_array(value, "video"))
        _check_count(len(array))
        array = _in_range(array, "video", evenly(len(array), frames))
        pictures = [_pixels(frame, FRAME_DETAIL) for frame in array]
    return to_square(torch.stack(pictures), size, "auto")


def to_recording(samples: Any, rate: Any) -> bytes:
    """Return a waveform as a WAV file, which is then read like any other.

    Args:
        samples: [S], or channels in either order: [S C] or [C S]; floats, or whole numbers of full
            scale.
        rate: Hz.
    """
    import soundfile

    array = _channels_of_sound(to_array(samples, "audio"))
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif (scale := FULL_SCALE.get(array.dtype.name)) is not None:
        centre = scale if array.dtype == np.uint8 else 0.0
        array = ((array.astype(np.float64) - centre) / scale).astype(np.float32)
    else:
        raise UserError(
            f"the audio holds {array.dtype} samples but they are floats, int16, int32 or uint8; "
            "convert it"
        )
    buffer = io.BytesIO()
    soundfile.write(buffer, array, check_rate(rate), format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def check_rate(rate: Any) -> int:
    """Return a sound's rate in Hz as a whole number; raise if it can be none."""
    value = rate.item() if hasattr(rate, "item") else rate
    if (
        not isinstance(value, int | float)
        or not SOUND_RATES[0] <= value <= SOUND_RATES[1]
        or value % 1
    ):
        raise UserError(
            f"the audio's rate is {value!r} but must be a whole number from {SOUND_RATES[0]} to "
            f"{SOUND_RATES[1]} Hz; give (rate, samples)"
        )
    return int(value)


def to_array(value: Any, name: str) -> Shaped[np.ndarray, "..."]:
    """Return numbers of any library as a NumPy array of numbers."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        value = value.float() if value.dtype == torch.bfloat16 else value
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:  # lists of unequal lengths
        raise UserError(f"the {name} is no array ({error}); give one array of numbers") from None
    if array.dtype.kind not in "biuf":
        raise UserError(
            f"the {name} is a {type(value).__name__} of {array.dtype} but must hold numbers; "
            "convert it, or give the path of a file"
        )
    if not array.size:
        raise UserError(f"the {name} has shape {list(array.shape)} and holds nothing; give another")
    return array


def _in_range(
    array: Shaped[np.ndarray, "*N"], name: str, picked: list[int] | None = None
) -> Float[np.ndarray, "*M"]:
    """Return pixels in [-1, 1]; type and range of all of them tell what they are now.

    Args:
        array: Pixels.
        name: Of what they are, for messages.
        picked: Of the first axis only these are returned.
    """
    low, high = float(array.min()), float(array.max())
    offset, scale = _scale(array.dtype, low, high, name)
    array = array if picked is None else array[picked]
    return np.clip((array.astype(np.float32) - offset) / scale, -1, 1)


def _scale(dtype: np.dtype, low: float, high: float, name: str) -> tuple[float, float]:
    """Return the middle and half the width of the range that pixels use."""
    told = f"the {name} holds {dtype} values from {low:.3g} to {high:.3g}"
    if dtype.kind == "b":
        return 0.5, 0.5
    if dtype.kind in "iu":
        most = 65_535 if dtype == np.uint16 else 255
        unclear = high == 1 or (dtype == np.uint16 and 0 < high <= 255)
        if unclear:
            raise UserError(
                f"{told}, which may be a mask or pixels, nearly black; convert it: {PIXELS}"
            )
        if low >= 0 and high <= most:
            return most / 2, most / 2
    elif low >= 0 and high <= 1 + SLACK:
        return 0.5, 0.5
    elif low >= 0 and 2 < high <= 255 + SLACK:
        return 127.5, 127.5
    elif -SLACK <= low < 0 <= high <= 1 + SLACK:
        raise UserError(
            f"{told}: is black 0 or -1? Clip it to 0 and 1, or spread it from -1 to 1; {PIXELS}"
        )
    elif -1.5 <= low < -SLACK and high <= 1.5:
        return 0.0, 1.0
    raise UserError(f"{told} but {PIXELS}; convert it")


def _channels_last(array: Shaped[np.ndarray, "..."], name: str) -> Shaped[np.ndarray, "H W C"]:
    """Return a picture with its channels last, whose sides can be a picture's."""
    if array.ndim == 2:
        array = rearrange(array, "h w -> h w 1")
    elif array.ndim == 3 and array.shape[0] in CHANNELS and array.shape[2] not in CHANNELS:
        array = rearrange(array, "c h w -> h w c")
    if array.ndim != 3 or array.shape[2] not in CHANNELS:
        raise UserError(
            f"the {name} has shape {list(array.shape)} but a picture has [H W], [H W 3] or [3 H W] "
            "(or 1, 2 or 4 channels); change its axes"
        )
    _check_sides(array.shape[1], array.shape[0], name)
    return array


def _frames_first(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "F H W C"]:
    """Return a clip with frames first and channels last."""
    shape = array.shape
    array = array[0] if array.ndim == 5 and shape[0] == 1 else array
    if array.ndim == 3 and shape[0] not in CHANNELS and shape[2] not in CHANNELS:
        array = rearrange(array, "f h w -> f h w 1")
    elif array.ndim == 4 and array.shape[3] not in CHANNELS:
        if array.shape[1] in CHANNELS:
            array = rearrange(array, "f c h w -> f h w c")
        elif array.shape[0] in CHANNELS:
            array = rearrange(array, "c f h w -> f h w c")
    if array.ndim != 4 or array.shape[3] not in CHANNELS:
        raise UserError(
            f"the video has shape {list(shape)} but a clip has [F H W 3] or [F 3 H W] (or 1, 2 or "
            "4 channels); change its axes, or give a still picture as an image"
        )
    _check_sides(array.shape[2], array.shape[1], "video")
    return array


def _pixels(array: Float[np.ndarray, "H W C"], detail: int) -> Float[Tensor, "3 H2 W2"]:
    """Return a picture in [-1, 1] as RGB on white, reduced by a whole factor to about `detail`."""
    pixels = torch.from_numpy(np.ascontiguousarray(rearrange(array, "h w c -> c h w")))
    if len(pixels) in (2, 4):
        alpha = (pixels[-1:] + 1) / 2
        pixels = pixels[:-1] * alpha + (1 - alpha)
    pixels = repeat(pixels, "1 h w -> c h w", c=3) if len(pixels) == 1 else pixels
    factor = max(1, min(pixels.shape[1:]) // detail)
    if factor == 1:
        return pixels
    return F.avg_pool2d(pixels[None], factor, ceil_mode=True, count_include_pad=False)[0]


def _from_image(image: Image.Image, detail: int) -> Float[Tensor, "3 H W"]:
    """Return a Pillow picture of any mode as pixels in [-1, 1]."""
    _check_sides(*image.size, "image")
    if image.mode in ("F", "I"):
        array = np.asarray(image)
        wide = image.mode == "I" and 255 < array.max() <= 65_535 and array.min() >= 0
        array = array.astype(np.uint16) if wide else array
        return _pixels(_in_range(array[..., None], "image"), detail)
    whole = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}  # premultiplied, or a palette's
    try:
        image = image.convert(whole[image.mode]) if image.mode in whole else image
        return from_pillow(image, detail)
    except (ValueError, OSError, SyntaxError) as error:
        raise UserError(
            f"the picture of mode {image.mode} cannot be read ({error}); open it again, or convert "
            'it: image.convert("RGB")'
        ) from None


def _from_images(values: Sequence[Any], frames: int) -> list[Float[Tensor, "3 H W"]]:
    """Return evenly picked frames of a list of pictures, all in one range and of one size."""
    _check_count(len(values))
    if not any(isinstance(value, Image.Image) for value in values):
        arrays = [_channels_last(to_array(value, "frame"), "frame") for value in values]
        if len({(array.shape, array.dtype) for array in arrays}) == 1:
            array = _in_range(np.stack(arrays), "video", evenly(len(arrays), frames))
            return [_pixels(frame, FRAME_DETAIL) for frame in array]
        pictures = [_pixels(_in_range(a, "frame"), FRAME_DETAIL) for a in arrays]
    else:
        pictures = [_frame(value) for value in values]
    shapes = sorted({tuple(picture.shape[1:]) for picture in pictures})
    if len(shapes) > 1:
        told = " and ".join(f"{width}x{height}" for height, width in shapes[:2])
        raise UserError(f"the video's frames have {told} pixels but all must be alike; resize them")
    return [pictures[number] for number in evenly(len(pictures), frames)]


def _frame(value: Any) -> Float[Tensor, "3 H W"]:
    if isinstance(value, Image.Image):
        return _from_image(value, FRAME_DETAIL)
    array = _channels_last(to_array(value, "frame"), "frame")
    return _pixels(_in_range(array, "frame"), FRAME_DETAIL)


def _film_of(image: Image.Image) -> list[Image.Image]:
    """Return the frames of an animation that Pillow has open."""
    from PIL import ImageSequence

    count = getattr(image, "n_frames", 1)
    _check_count(count)
    return [frame.copy() for frame in ImageSequence.Iterator(image)]


def _channels_of_sound(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return a waveform as [S], or with several channels as [S C]."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = rearrange(array, "c s -> s c")
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] > MICROPHONES):
        raise UserError(
            f"the audio has shape {list(array.shape)} but a sound has [S], [S C] or [C S]; "
            "change its axes"
        )
    return array


def _check_sides(width: int, height: int, name: str) -> None:
    if min(width, height) < SIDES[0] or max(width, height) > SIDES[1]:
        raise UserError(
            f"the {name} has {width}x{height} pixels but a side must have {SIDES[0]} to "
            f"{SIDES[1]}; scale it"
        )


def _check_count(count: int) -> None:
    if not FRAMES[0] <= count <= FRAMES[1]:
        raise UserError(
            f"the video holds {count} frames but a clip has {FRAMES[0]} to {FRAMES[1]}; give a "
            "still picture as an image"
        )
