"""Pictures in files, still or moving, between Pillow and tensors."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from core.errors import UserError

SIDES = (8, 12_000)
"""Shortest and longest side of a picture, in pixels."""
DETAIL = 1024
"""Shorter side in pixels to which a larger picture is first reduced, by a whole factor."""


@contextmanager
def opened(path: Path, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Yield a picture of one of the formats; whatever is wrong with it is one clear line."""
    names = ", ".join(formats)
    try:
        with warnings.catch_warnings(action="ignore"), _open(path, formats) as image:
            check_sides(path, image.size)
            yield image
    except UnidentifiedImageError:
        raise UserError(
            f"{path} is no picture of these kinds: {names}; save it as one and try again"
        ) from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path} has too many pixels: a side may have {SIDES[1]} at most; scale it down"
        ) from None
    except (OSError, SyntaxError, EOFError, struct.error) as error:
        raise UserError(
            f"{path} is damaged ({error}) but a whole file is needed; save or copy it again"
        ) from None


def check_sides(path: Path, size: tuple[int, int]) -> None:
    """Raise if a picture is too small to hold anything or too large to be decoded."""
    if min(size) < SIDES[0] or max(size) > SIDES[1]:
        raise UserError(
            f"{path} has {size[0]}x{size[1]} pixels but a side must have {SIDES[0]} to {SIDES[1]}; "
            "scale it"
        )


def from_pillow(image: Image.Image, detail: int = DETAIL) -> Float[Tensor, "3 H W"]:
    """Return a picture in [-1, 1]: reduced to about `detail`, turned as EXIF says, on white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode == "1":
        image = image.convert("L")
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image = ImageOps.exif_transpose(image.reduce(max(1, min(image.size) // detail)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    array = np.asarray(image.convert("RGB"), dtype=np.float32) / 127.5 - 1
    return rearrange(torch.from_numpy(array), "h w c -> c h w")


def _open(path: Path, formats: tuple[str, ...]) -> Image.Image:
    try:
        return Image.open(path, formats=formats)
    except ValueError as error:  # Pillow's own limits, as on texts that unpack to very much
        raise OSError(str(error)) from None


def to_pillow(image: Float[Tensor, "3 H W"], upscale: int = 1) -> Image.Image:
    """Return a picture in [-1, 1] as 8-bit RGB, each pixel repeated `upscale` times a side."""
    levels = ((image.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    levels = levels.repeat_interleave(upscale, -2).repeat_interleave(upscale, -1)
    return Image.fromarray(rearrange(levels, "c h w -> h w c").numpy())
