"""Draw digits with crisp strokes on plain backgrounds: an image, or four frames that move."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from multimodal.factors import COLOUR_RGB, STEPS

PIXELS = 32
FRAMES = 4
SMALLEST, GROWTH = 14.0, 8.0
"""Height of the ink in pixels: SMALLEST + GROWTH * size."""
SUPER = 4
"""Drawn this many times larger and averaged, for smooth edges."""
MARGIN = 1.0
"""Pixels that stay free at the border."""
WANDER = 1.0
"""Farthest that a digit, or the middle of its path, is from the centre, in pixels along x and y."""
SPEED = (1.4, 2.2)
"""Pixels a frame of the slowest and the fastest move."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """How a digit is written and where it is put: private to one signal."""

    instance: int
    """Which scan."""
    slant: float
    """Shear, as horizontal shift per height."""
    turn: float
    """Rotation in radians."""
    stretch: float
    """Width over the scan's width."""
    pen: float
    """Ink level that counts as stroke: higher is thinner."""
    ink: tuple[int, int, int]
    """Colour of the stroke, 0 to 255."""
    paper: tuple[int, int, int]
    """Colour of the background, 0 to 255."""


def draw_look(instances: np.ndarray, colour: str, rng: np.random.Generator) -> Look:
    """Draw a scan, a hand and a background for a colour that shows on it."""
    light = colour == "black" or (colour != "white" and rng.random() < 0.5)
    return Look(
        instance=int(rng.choice(instances)),
        slant=float(rng.uniform(-0.05, 0.05)),
        turn=float(rng.uniform(-0.04, 0.04)),
        stretch=float(rng.uniform(0.95, 1.08)),
        pen=float(rng.uniform(0.66, 0.74)),
        ink=_ink(colour, rng),
        paper=_paper(light, rng),
    )


def height_of(size: float) -> float:
    """Return the height of the ink in pixels for a size in [0, 1]."""
    return SMALLEST + GROWTH * size


def render_image(
    scan: Float[np.ndarray, "h w"], look: Look, size: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw one picture of a digit at a random place."""
    return render_ink(draw_stroke(scan, look, height_of(size)), look, rng)


def render_ink(
    ink: Image.Image, look: Look, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Put ink that was drawn SUPER times larger on a picture, at a random place."""
    return _compose(_place(ink, draw_path(_room(ink), "still", rng)[0]), look)


def render_video(
    scan: Float[np.ndarray, "h w"],
    look: Look,
    size: float,
    motion: str,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "F H W 3"]:
    """Draw a digit that moves steadily and stays inside the picture."""
    stroke = draw_stroke(scan, look, height_of(size))
    places = draw_path(_room(stroke), motion, rng)
    return np.stack([_compose(_place(stroke, place), look) for place in places])


def draw_path(room: Point, motion: str, rng: np.random.Generator) -> list[Point]:
    """Draw the corner of the digit in each frame: the middle of the path is near the centre."""
    corners: list[np.ndarray] = [np.zeros(FRAMES), np.zeros(FRAMES)]
    for axis, direction in enumerate(STEPS[motion]):
        speed = float(rng.uniform(SPEED[0], min(SPEED[1], room[axis] / (FRAMES - 1))))
        path = direction * speed * (np.arange(FRAMES) - (FRAMES - 1) / 2)
        slack = min(WANDER, (room[axis] - np.ptp(path)) / 2)
        corners[axis] = MARGIN + room[axis] / 2 + path + float(rng.uniform(-slack, slack))
    return [(float(x), float(y)) for x, y in zip(*corners, strict=True)]


def draw_stroke(scan: Float[np.ndarray, "h w"], look: Look, height: float) -> Image.Image:
    """Return the ink of a digit, SUPER times larger than `height` pixels and tightly cropped."""
    ink = np.clip((sharpen(scan) - look.pen) * 8 + 0.5, 0, 1)
    hand = _hand(look)
    turned_xy = (np.argwhere(ink > 0.5)[:, ::-1] + 0.5) @ hand.T
    low, extent = turned_xy.min(0), np.ptp(turned_xy, axis=0)
    scale = SUPER * height / extent[1]
    scale_xy = np.array([min(scale, SUPER * (PIXELS - 8) / extent[0]), scale])
    width, tall = (round(side) for side in extent * scale_xy)
    back = np.linalg.inv(hand)
    (a, b), (d, e) = back / scale_xy
    c, f = back @ low
    canvas = Image.fromarray((255 * ink).astype(np.uint8))
    affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return canvas.transform((width, tall), affine, (a, b, c, d, e, f), bilinear)


def _hand(look: Look) -> Float[np.ndarray, "2 2"]:
    """Return the map of a hand: stretch, then slant, then turn, on (x, y)."""
    cos, sin = np.cos(look.turn), np.sin(look.turn)
    slanted = np.array([[look.stretch, -look.slant], [0.0, 1.0]])
    return np.array([[cos, -sin], [sin, cos]]) @ slanted


def sharpen(scan: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "H W"]:
    """Enlarge smoothly and lift strokes above their surroundings, so that loops stay open."""
    fine_y, coarse_y = _enlargers(scan.shape[0])
    fine_x, coarse_x = _enlargers(scan.shape[1])
    fine = fine_y @ scan @ fine_x.T
    return 3 * fine - 2 * (coarse_y @ scan @ coarse_x.T)


@cache
def _enlargers(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cubic enlargement to about 144 pixels as matrices: lightly and strongly smoothed.

    The filter's scale follows the scan's, an eighth of its side, about a pen's width.
    """
    pad = side // 4
    zoom = round(144 / (side + 2 * pad))
    rows = np.pad(np.eye(side), ((pad, pad), (0, 0)))
    large = ndimage.zoom(rows, (zoom, 1), order=3, mode="grid-constant", grid_mode=True)
    unit = zoom * side / 8
    fine, coarse = (
        ndimage.gaussian_filter1d(large, width * unit, axis=0, mode="constant")
        for width in (0.3, 1.2)
    )
    return fine, coarse


def _room(stroke: Image.Image) -> Point:
    """Return how far the digit's corner can go, in pixels along x and y."""
    return PIXELS - 2 * MARGIN - stroke.width / SUPER, PIXELS - 2 * MARGIN - stroke.height / SUPER


def _place(stroke: Image.Image, place: Point) -> Float[np.ndarray, "H W 1"]:
    """Return the ink of the whole picture, the digit's corner at `place` (x, y) in pixels."""
    canvas = Image.new("L", (PIXELS * SUPER, PIXELS * SUPER))
    canvas.paste(stroke, (round(SUPER * place[0]), round(SUPER * place[1])))
    return rearrange(np.asarray(canvas.reduce(SUPER), np.float32) / 255, "H W -> H W 1")


def _compose(ink: Float[np.ndarray, "H W 1"], look: Look) -> UInt8[np.ndarray, "H W 3"]:
    paper = np.array(look.paper, np.float32)
    return np.rint(paper + ink * (np.array(look.ink, np.float32) - paper)).astype(np.uint8)


def _ink(colour: str, rng: np.random.Generator) -> tuple[int, int, int]:
    """Vary a colour's shade; the hue stays its own."""
    base = np.array(COLOUR_RGB[colour]) * rng.uniform(0.9, 1.08)
    return _rgb(base + rng.normal(0, 8, 3))


def _paper(light: bool, rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw a background: pure white or black in two of five, else a near grey."""
    if rng.random() < 0.4:
        return _rgb(np.full(3, 255.0 * light))
    grey = rng.uniform(205, 255) if light else rng.uniform(0, 55)
    return _rgb(grey + rng.normal(0, 4, 3))


def _rgb(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in np.clip(np.rint(values), 0, 255))
    return red, green, blue
