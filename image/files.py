"""The user's pictures: PNG, JPEG and WebP in, PNG out."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from core.canvas import Fit, to_square
from core.files import existing_file, new_file
from core.pictures import from_pillow, opened, to_pillow

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp"})
"""Of files that a builder takes for pictures; what is read is told by content."""


def read_image(path: str | Path, size: int = 32, fit: Fit = "auto") -> Float[Tensor, "3 H W"]:
    """Read a picture as a square of `size` pixels in [-1, 1].

    It is turned as its EXIF says, transparency becomes white, and the square is cut out as
    `core.canvas` describes.
    """
    return to_square(read_pixels(path)[None], size, fit)[0]


def read_pixels(path: str | Path) -> Float[Tensor, "3 H W"]:
    """Read a picture whole, upright and on white, in [-1, 1]."""
    with opened(existing_file(path), FORMATS) as image:
        return from_pillow(image)


def weigh_image(path: str | Path) -> int:
    """Return how many pixels a picture's header announces, before any is decoded."""
    with opened(existing_file(path), FORMATS) as image:
        return image.width * image.height


def write_image(path: str | Path, image: Float[Tensor, "3 H W"], upscale: int = 8) -> None:
    """Write a picture in [-1, 1] as PNG, each pixel repeated `upscale` times a side."""
    with new_file(path) as partial:
        to_pillow(image, upscale).save(partial, "PNG")
