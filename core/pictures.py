"""Pictures in files, still or moving, between Pillow and tensors."""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from PIL import Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from core.errors import UserError

SIDES = (8, 12_000)
"""Shortest and longest side of a picture, in pixels."""
DETAIL = 1024
"""Shorter side in pixels to which a larger picture is first reduced, by a whole factor."""
ORIENTATION = 0x0112
"""Number of the EXIF entry that tells how a picture is to be turned."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright."""


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
    except OSError as error:
        raise UserError(
            f"{path} is damaged ({error}) but a whole file is needed; save or copy it again"
        ) from None


@contextmanager
def decoding() -> Iterator[None]:
    """Raise whatever Pillow raises over a damaged file as OSError, the error of damaged files.

    Its parsers trip over broken metadata with errors of any type: AttributeError, TypeError,
    OverflowError, ZeroDivisionError and struct.error among them.
    """
    try:
        yield
    except (OSError, MemoryError, UserError, Image.DecompressionBombError):
        raise
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error


def check_sides(path: Path, size: tuple[int, int]) -> None:
    """Raise if a picture is too small to hold anything or too large to be decoded."""
    if min(size) < SIDES[0] or max(size) > SIDES[1]:
        raise UserError(
            f"{path} has {size[0]}x{size[1]} pixels but a side must have {SIDES[0]} to {SIDES[1]}; "
            "scale it"
        )


def from_pillow(image: Image.Image, detail: int = DETAIL) -> Float[Tensor, "3 H W"]:
    """Return a picture in [-1, 1]: reduced to about `detail`, upright, on white, in sRGB.

    It is turned as its EXIF orientation says; transparency becomes white.
    """
    with decoding():
        depth = _depth(image)
        image.load()
        turn = TURNS.get(_orientation(image) or 1)
        profile = image.info.get("icc_profile")
        image = _eight_bits(image, depth).reduce(max(1, min(image.size) // detail))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
        image = _to_srgb(image, profile)
        image = image if turn is None else image.transpose(turn)
        array = np.asarray(image, dtype=np.float32) / 127.5 - 1
    return rearrange(torch.from_numpy(array), "h w c -> c h w")


def _depth(image: Image.Image) -> int:
    """Return the bits of a channel as they stand in a PNG that is not loaded yet."""
    tiles = getattr(image, "tile", None)
    raw = str(tiles[0].args) if tiles else ""
    return next((bits for mark, bits in ((";2", 2), (";4", 4), (";16", 16)) if mark in raw), 8)


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation, in EXIF or XMP; what cannot be read is as good as none.

    ImageOps.exif_transpose would write the other entries anew, and fail if one is of an odd type.
    """
    found = _exif_orientation(image.info.get("exif"))
    try:
        return int(image.getexif().get(ORIENTATION, 1)) if found is None else found
    except Exception:  # of any type, see `decoding`
        return None


def _exif_orientation(exif: object) -> int | None:
    """Look the entry up in the first of EXIF's folders; Pillow gives up at a broken one before."""
    data = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 10:
        return None
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return None
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for place in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, place)
        if (tag, kind) == (ORIENTATION, 3):
            return value
    return None


def _eight_bits(image: Image.Image, depth: int) -> Image.Image:
    """Return a picture of any mode with 8 bits per channel; what is transparent is in its alpha.

    Args:
        depth: Bits per channel in the file; a transparent colour is given in these.
    """
    if image.mode == "P":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    key = image.info.get("transparency")
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        return _with_holes(Image.fromarray(_to_bytes(values)), values, key)
    if image.mode in ("1", "L", "RGB"):
        grey = image.convert("L") if image.mode == "1" else image
        if key is None:
            return grey
        scale = {2: lambda level: level * 85, 4: lambda level: level * 17, 16: lambda v: v >> 8}
        key = np.asarray(key)
        return _with_holes(grey, np.asarray(grey), scale[depth](key) if depth in scale else key)
    return image


def _with_holes(
    image: Image.Image, values: Shaped[np.ndarray, "H W *C"], key: object
) -> Image.Image:
    """Return the picture, transparent where its values are those of the transparent colour."""
    if key is None:
        return image
    holes = values == key
    holes = holes if holes.ndim == 2 else holes.all(-1)
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(holes, 0, 255).astype(np.uint8)))
    clear.info.pop("transparency", None)
    return clear


def _to_bytes(values: Shaped[np.ndarray, "H W"]) -> Shaped[np.ndarray, "H W"]:
    """Return levels of wider types as bytes: 16 bits, or whatever range they seem to have."""
    if values.dtype.itemsize == 2:
        return (values // 257).astype(np.uint8)
    largest = np.nanmax(values, initial=0)
    steps = (1, 255, 65535) if values.dtype.kind == "f" else (255, 65535)
    full = next((step for step in steps if largest <= step), largest)
    scaled = np.nan_to_num(values.astype(np.float64) / full)
    return (scaled.clip(0, 1) * 255).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a picture as RGB, by its colour profile if it has one that can be read."""
    if profile:
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(given):
                srgb = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, given, srgb, outputMode="RGB")
                assert converted is not None  # it is not in place
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # a damaged profile, or one of another colour space, is as good as none
    return image.convert("RGB")


def _open(path: Path, formats: tuple[str, ...]) -> Image.Image:
    with decoding():
        return Image.open(path, formats=formats)


def to_pillow(image: Float[Tensor, "3 H W"], upscale: int = 1) -> Image.Image:
    """Return a picture in [-1, 1] as 8-bit RGB, each pixel repeated `upscale` times a side."""
    levels = ((image.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    levels = levels.repeat_interleave(upscale, -2).repeat_interleave(upscale, -1)
    return Image.fromarray(rearrange(levels, "c h w -> h w c").numpy())
