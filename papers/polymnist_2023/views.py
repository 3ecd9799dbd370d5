"""The world of five views: digits inverted out of five textures, as in PolyMNIST.

A view shows its own handwritten instance of the sample's digit on a random crop of its own texture;
where there is ink the texture's colours are inverted. Made after the description of PolyMNIST
(Sutter et al. 2021, appendix B.2) with textures of our own, so that nothing needs a download.
"""

from functools import cache

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from scipy import ndimage

from multimodal.digits import Digits
from multimodal.drawing import SUPER, draw_look, draw_stroke
from multimodal.factors import Split

VIEWS = ("m0", "m1", "m2", "m3", "m4")
PIXELS = 28
TEXTURE = 256
"""Side of a texture, from which crops are taken."""
INK = 20.0
"""Height of a digit in pixels, as in MNIST."""
WANDER = 1.5
"""Farthest that a digit is from the centre, in pixels along x and y."""


def draw_view(
    view: str, digit: int, digits: Digits, split: Split, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "H W 3"], int]:
    """Return a picture of one view, and the instance of handwriting on it."""
    look = draw_look(digits.instances(split, digit), "black", rng)
    ink = place_ink(digits.images[look.instance], look, rng)
    left, top = rng.integers(TEXTURE - PIXELS, size=2)
    crop = texture(view)[top : top + PIXELS, left : left + PIXELS]
    return np.rint(255 * invert(crop, ink)).astype(np.uint8), look.instance


def invert(crop: Float[np.ndarray, "H W 3"], ink: Float[np.ndarray, "H W"]) -> np.ndarray:
    """Blend a crop in [0, 1] with its inverse, by the amount of ink."""
    weight = rearrange(ink, "H W -> H W 1")
    return crop * (1 - weight) + (1 - crop) * weight


def place_ink(
    scan: Float[np.ndarray, "h w"], look, rng: np.random.Generator
) -> Float[np.ndarray, "H W"]:
    """Return the ink of a picture in [0, 1], the digit near its centre."""
    stroke = np.asarray(draw_stroke(scan, look, INK), np.float32) / 255
    canvas = np.zeros((PIXELS * SUPER, PIXELS * SUPER), np.float32)
    room = np.array(canvas.shape) - stroke.shape
    shift = SUPER * rng.uniform(-WANDER, WANDER, 2)
    top, left = np.clip(np.rint(room / 2 + shift).astype(int), 0, room)
    canvas[top : top + stroke.shape[0], left : left + stroke.shape[1]] = stroke
    return rearrange(canvas, "(H a) (W b) -> H W a b", a=SUPER, b=SUPER).mean((2, 3))


@cache
def texture(view: str) -> Float[np.ndarray, "S S 3"]:
    """Return the texture of a view in [0, 1]; the same on every machine and for every seed."""
    amount, low, high = {
        "m0": (_waves(), (0.02, 0.05, 0.25), (0.10, 0.32, 0.62)),
        "m1": (_bricks(), (0.72, 0.66, 0.60), (0.86, 0.26, 0.16)),
        "m2": (_clouds(), (0.02, 0.12, 0.05), (0.30, 0.62, 0.18)),
        "m3": (_cells(), (0.98, 0.96, 0.62), (0.66, 0.80, 0.98)),
        "m4": (_stripes(), (0.30, 0.04, 0.34), (0.93, 0.80, 0.12)),
    }[view]
    weight = rearrange(amount, "H W -> H W 1")
    return (1 - weight) * np.array(low) + weight * np.array(high)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:TEXTURE, :TEXTURE].astype(np.float64)
    return y, x


def _waves() -> Float[np.ndarray, "S S"]:
    """Rings around three places that interfere."""
    y, x = _grid()
    rings = [np.sin(np.hypot(y - a, x - b) / 3.1) for a, b in ((20, 40), (180, 90), (110, 230))]
    return 0.5 + np.sum(rings, axis=0) / 6


def _bricks() -> Float[np.ndarray, "S S"]:
    """Rows of bricks of slightly different shades between mortar."""
    y, x = (a.astype(int) for a in _grid())
    row = y // 8
    along = x + 7 * (row % 2)
    shade = np.random.default_rng(1).uniform(0.75, 1.0, (TEXTURE, TEXTURE))
    return np.where((y % 8 == 0) | (along % 14 == 0), 0.0, shade[row, along // 14])


def _clouds() -> Float[np.ndarray, "S S"]:
    """Smoothed noise at two scales."""
    noise = np.random.default_rng(2).normal(size=(2, TEXTURE, TEXTURE))
    layers = [
        ndimage.gaussian_filter(n, s, mode="wrap") * s for n, s in zip(noise, (3, 9), strict=True)
    ]
    return _unit(np.sum(layers, axis=0))


def _cells() -> Float[np.ndarray, "S S"]:
    """Polygons around random points, each of one shade."""
    rng = np.random.default_rng(3)
    points, shades = rng.uniform(0, TEXTURE, (500, 2)), rng.uniform(0, 1, 500)
    y, x = _grid()
    distance = np.stack([np.hypot(y - a, x - b) for a, b in points])
    return shades[distance.argmin(axis=0)]


def _stripes() -> Float[np.ndarray, "S S"]:
    """Diagonal stripes whose width changes slowly."""
    y, x = _grid()
    phase = (x + y) / 2.2 + 6 * np.sin(x / 31) + 4 * np.cos(y / 23)
    return np.where(np.sin(phase / 1.7) > 0.25, 1.0, 0.0) * (0.9 + 0.1 * np.sin(x / 5))


def _unit(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / np.ptp(values)
