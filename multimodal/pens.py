"""Digits as a visitor draws them: a round pen of any width, in the hand of many people.

The world's own handwriting is that of a few writers, scanned at 8 x 8 pixels. What is drawn with a
mouse differs in two ways: the stroke is equally wide everywhere, and other hands write other forms
(a seven with or without its bar, a four that is open or closed). Both are made here, from the
centre lines of scans, the world's and MNIST's, and from forms written down as strokes.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Float
from PIL import Image
from scipy import ndimage
from scipy.interpolate import CubicSpline
from skimage.morphology import skeletonize

from multimodal.drawing import SUPER, sharpen

PEN = (0.6, 4.5)
"""Diameters of a pen's tip, in pixels of a picture of 32: a page's pen, thin or thick, and however
a drawing was enlarged or reduced."""
FORM_SHARE = 0.25
"""Share of drawings whose form is written down in `FORMS`; the others follow a scan."""
STROKE = 0.7
"""Ink of an enlarged scan from which on it is stroke, as in the middle of the world's pens."""
COARSE = 16
"""Rows of a scan below which a stroke is about one pixel wide."""
WOBBLE = 0.045
"""Standard deviation of the points of a form, as a share of its height."""
SPACING = 200
"""Points a stroke."""

Stroke = Sequence[tuple[float, float]]
"""Points (x, y) that a pen passes through, y downwards, in a box one high."""

FORMS: dict[int, tuple[tuple[Stroke, ...], ...]] = {
    0: (
        (((0.35, 0), (0.08, 0.25), (0.05, 0.6), (0.3, 1), (0.6, 0.75), (0.62, 0.3), (0.35, 0)),),
        (((0.45, 0), (0.1, 0.3), (0.02, 0.7), (0.25, 1), (0.6, 0.7), (0.7, 0.2), (0.4, 0.02)),),
        (((0.5, 0.05), (0.15, 0.12), (0, 0.5), (0.2, 0.95), (0.6, 0.9), (0.8, 0.5), (0.5, 0)),),
        (((0.3, 0.05), (0.02, 0.4), (0.15, 0.95), (0.5, 0.9), (0.6, 0.4), (0.4, 0.02)),),
    ),
    1: (
        (((0.1, 0), (0.1, 0.5), (0.1, 1)),),
        (((0.25, 0), (0.15, 0.5), (0.05, 1)),),
        (((0, 0.25), (0.14, 0.15), (0.28, 0)), ((0.28, 0), (0.28, 0.5), (0.28, 1))),
        (
            ((0, 0.3), (0.17, 0.17), (0.3, 0)),
            ((0.3, 0), (0.3, 0.5), (0.3, 1)),
            ((0.02, 1), (0.3, 1), (0.58, 1)),
        ),
    ),
    2: (
        (
            ((0.05, 0.25), (0.3, 0), (0.6, 0.2), (0.45, 0.55), (0, 1)),
            ((0, 1), (0.35, 0.98), (0.7, 1)),
        ),
        (
            (
                (0.05, 0.2), (0.35, 0), (0.6, 0.25), (0.4, 0.65), (0.12, 0.97), (0.02, 0.85),
                (0.2, 0.78), (0.45, 0.95), (0.75, 0.9),
            ),
        ),
        (((0, 0.1), (0.35, 0.02), (0.55, 0.25), (0.3, 0.6), (0, 0.98), (0.3, 0.95), (0.65, 0.98)),),
        (
            (
                (0.1, 0.1), (0.35, 0.02), (0.5, 0.3), (0.3, 0.75), (0.05, 0.95), (0, 0.75),
                (0.25, 0.75), (0.5, 0.98), (0.7, 0.9),
            ),
        ),
        (
            ((0.02, 0.35), (0.05, 0.08), (0.4, 0), (0.6, 0.3), (0.3, 0.65), (0.05, 1)),
            ((0.05, 1), (0.4, 1), (0.8, 0.95)),
        ),
        (((0, 0.05), (0.3, 0), (0.6, 0.05), (0.35, 0.5), (0, 0.95), (0.35, 1), (0.7, 0.95)),),
    ),
    3: (
        (
            ((0.05, 0.15), (0.3, 0), (0.55, 0.2), (0.25, 0.46)),
            ((0.25, 0.46), (0.6, 0.7), (0.35, 1), (0, 0.88)),
        ),
        (
            ((0.02, 0.02), (0.3, 0.01), (0.6, 0.02)),
            ((0.6, 0.02), (0.42, 0.2), (0.22, 0.4)),
            ((0.22, 0.4), (0.6, 0.65), (0.35, 1), (0, 0.9)),
        ),
        (((0, 0.08), (0.4, 0.02), (0.5, 0.3), (0.2, 0.48), (0.55, 0.65), (0.4, 0.98), (0, 0.95)),),
        (
            ((0, 0.12), (0.2, 0), (0.42, 0.02), (0.5, 0.2), (0.38, 0.4), (0.12, 0.47)),
            ((0.12, 0.47), (0.4, 0.5), (0.55, 0.72), (0.35, 0.98), (0.1, 1), (0, 0.85)),
        ),
        (
            (
                (0.02, 0.1), (0.3, 0), (0.5, 0.15), (0.35, 0.42), (0.15, 0.5), (0.25, 0.42),
                (0.5, 0.65), (0.35, 0.95), (0, 0.95),
            ),
        ),
    ),
    4: (
        (
            ((0.15, 0), (0.08, 0.3), (0, 0.58)),
            ((0, 0.58), (0.35, 0.56), (0.7, 0.55)),
            ((0.55, 0.02), (0.52, 0.5), (0.5, 1)),
        ),
        (
            ((0.5, 0), (0.25, 0.33), (0, 0.66)),
            ((0, 0.66), (0.35, 0.66), (0.72, 0.66)),
            ((0.5, 0), (0.5, 0.5), (0.5, 1)),
        ),
        (
            ((0.05, 0), (0.02, 0.3), (0.15, 0.48), (0.45, 0.42), (0.55, 0.1)),
            ((0.58, 0), (0.52, 0.5), (0.48, 1)),
        ),
        (
            ((0.3, 0), (0.15, 0.35), (0.02, 0.6)),
            ((0.02, 0.6), (0.4, 0.58), (0.75, 0.6)),
            ((0.48, 0.3), (0.47, 0.65), (0.45, 1)),
        ),
    ),
    5: (
        (
            ((0.6, 0.02), (0.35, 0.02), (0.1, 0.03)),
            ((0.1, 0.03), (0.08, 0.2), (0.06, 0.42)),
            ((0.06, 0.42), (0.4, 0.38), (0.6, 0.65), (0.35, 0.98), (0, 0.9)),
        ),
        (((0.62, 0), (0.25, 0.05), (0.12, 0.35), (0.45, 0.5), (0.5, 0.8), (0.25, 1), (0, 0.92)),),
        (
            ((0.12, 0.02), (0.1, 0.22), (0.1, 0.42)),
            ((0.1, 0.42), (0.35, 0.4), (0.55, 0.68), (0.3, 1), (0, 0.88)),
            ((0.12, 0.04), (0.4, 0.04), (0.7, 0)),
        ),
    ),
    6: (
        (((0.45, 0), (0.15, 0.35), (0, 0.75), (0.25, 1), (0.5, 0.8), (0.35, 0.58), (0.06, 0.7)),),
        (((0.55, 0.02), (0.2, 0.3), (0.05, 0.7), (0.3, 1), (0.6, 0.78), (0.4, 0.5), (0.1, 0.62)),),
        (
            (
                (0.6, 0.02), (0.25, 0.15), (0.02, 0.6), (0.15, 0.98), (0.5, 0.95), (0.55, 0.65),
                (0.25, 0.6), (0.1, 0.8),
            ),
        ),
        (
            (
                (0.5, 0), (0.2, 0.3), (0.05, 0.65), (0.15, 0.95), (0.4, 1), (0.58, 0.8),
                (0.45, 0.6), (0.25, 0.68),
            ),
        ),
        (
            (
                (0.35, 0), (0.1, 0.4), (0.02, 0.8), (0.2, 1), (0.5, 0.92), (0.55, 0.68),
                (0.35, 0.58), (0.15, 0.72),
            ),
        ),
        (
            (
                (0.55, 0.05), (0.15, 0.1), (0, 0.5), (0.1, 0.9), (0.45, 1), (0.7, 0.75),
                (0.5, 0.5), (0.15, 0.55),
            ),
        ),
        (
            ((0.4, 0), (0.2, 0.35), (0.02, 0.7)),
            ((0.02, 0.7), (0.1, 0.98), (0.4, 0.98), (0.48, 0.75), (0.28, 0.6), (0.03, 0.75)),
        ),
        (((0.15, 0), (0.06, 0.4), (0.05, 0.8), (0.25, 1), (0.45, 0.85), (0.35, 0.66), (0.1, 0.8)),),
    ),
    7: (
        (((0, 0.03), (0.3, 0.02), (0.6, 0.02)), ((0.6, 0.02), (0.42, 0.45), (0.25, 1))),
        (((0, 0.02), (0.3, 0.02), (0.6, 0)), ((0.6, 0), (0.38, 0.4), (0.3, 1))),
        (
            ((0, 0.04), (0.3, 0.02), (0.62, 0.02)),
            ((0.62, 0.02), (0.42, 0.45), (0.25, 1)),
            ((0.18, 0.5), (0.4, 0.48), (0.65, 0.47)),
        ),
        (
            ((0.02, 0.2), (0.02, 0.1), (0.04, 0.03)),
            ((0.04, 0.03), (0.3, 0.04), (0.62, 0.01)),
            ((0.62, 0.01), (0.45, 0.4), (0.35, 1)),
        ),
        (((0, 0.08), (0.3, 0.02), (0.55, 0.08), (0.42, 0.5), (0.3, 1)),),
        (((0, 0.3), (0.08, 0.06), (0.4, 0), (0.62, 0.12), (0.5, 0.5), (0.4, 1)),),
        (
            ((0.02, 0.18), (0, 0.02), (0.3, 0.05), (0.65, 0.02)),
            ((0.65, 0.02), (0.5, 0.35), (0.42, 0.65), (0.4, 1)),
        ),
        (((0, 0.12), (0.25, 0), (0.5, 0.08), (0.68, 0), (0.45, 0.5), (0.15, 1)),),
    ),
    8: (
        (
            (
                (0.5, 0.08), (0.2, 0.02), (0.1, 0.28), (0.35, 0.5), (0.55, 0.78), (0.28, 1),
                (0.05, 0.78), (0.28, 0.5), (0.52, 0.25), (0.45, 0.05),
            ),
        ),
        (
            ((0.3, 0), (0.08, 0.22), (0.3, 0.45), (0.52, 0.22), (0.3, 0)),
            ((0.3, 0.45), (0.02, 0.72), (0.3, 1), (0.58, 0.72), (0.3, 0.45)),
        ),
        (
            (
                (0.6, 0.05), (0.2, 0.1), (0.2, 0.4), (0.5, 0.7), (0.3, 1), (0.05, 0.85),
                (0.3, 0.5), (0.65, 0.02),
            ),
        ),
        (
            (
                (0.3, 0.02), (0.05, 0.2), (0.3, 0.5), (0.55, 0.8), (0.3, 1), (0.08, 0.8),
                (0.32, 0.48), (0.55, 0.22), (0.3, 0),
            ),
        ),
    ),
    9: (
        (
            ((0.5, 0.15), (0.25, 0), (0.03, 0.25), (0.25, 0.5), (0.5, 0.2)),
            ((0.5, 0.15), (0.48, 0.6), (0.45, 1)),
        ),
        (
            (
                (0.5, 0.2), (0.25, 0), (0.03, 0.25), (0.25, 0.48), (0.5, 0.22), (0.52, 0.6),
                (0.35, 0.98), (0.05, 0.9),
            ),
        ),
        (
            ((0.45, 0.05), (0.1, 0.1), (0.1, 0.42), (0.42, 0.4), (0.48, 0.08)),
            ((0.48, 0.05), (0.38, 0.5), (0.2, 1)),
        ),
        (
            (
                (0.55, 0.12), (0.3, 0), (0.05, 0.2), (0.2, 0.42), (0.5, 0.28), (0.58, 0.05),
                (0.5, 0.5), (0.4, 1),
            ),
        ),
        (
            ((0.4, 0), (0.12, 0.02), (0, 0.22), (0.15, 0.42), (0.38, 0.28), (0.42, 0.02)),
            ((0.42, 0.02), (0.42, 0.5), (0.42, 1)),
        ),
        (
            (
                (0.5, 0.1), (0.2, 0.02), (0.02, 0.22), (0.12, 0.42), (0.4, 0.35), (0.55, 0.08),
                (0.45, 0.5), (0.2, 1),
            ),
        ),
        (
            (
                (0.6, 0.2), (0.35, 0), (0.02, 0.12), (0.1, 0.4), (0.4, 0.42), (0.6, 0.2),
                (0.58, 0.6), (0.55, 1),
            ),
        ),
    ),
}  # fmt: skip
"""Ways to write each digit: strokes through points, in the order in which a hand draws them."""


def draw_line(
    scan: Float[np.ndarray, "h w"], digit: int, height: float, most: float, rng: np.random.Generator
) -> Image.Image:
    """Draw a digit with a round pen, SUPER times larger than `height` pixels and tightly cropped.

    Args:
        scan: A handwritten instance of the digit, ink in [0, 1].
        digit: 0 to 9.
        height: Of the ink in pixels.
        most: Largest width in pixels.
        rng: What pen, form and hand are drawn from.
    """
    form = rng.random() < FORM_SHARE
    points = draw_form(digit, rng) if form else centre_line(scan)
    points = _write(points, rng)
    pen = SUPER * float(np.exp(rng.uniform(*np.log(PEN))))
    pen = min(pen, SUPER * height / 4)  # more would close the loops
    extent = np.ptp(points, axis=0)
    scale = (SUPER * height - pen) / max(float(extent[1]), 1e-6)
    across = min(scale, (SUPER * most - pen) / max(float(extent[0]), 1e-6))
    return stroke_with(points * np.array([across, scale]), pen)


def stroke_with(points: Float[np.ndarray, "N 2"], pen: float) -> Image.Image:
    """Return where a round tip of `pen` pixels leaves ink on its way, tightly cropped."""
    low = points.min(0) - pen / 2
    width, height = np.maximum(np.ceil(np.ptp(points, axis=0) + pen), 1).astype(int)
    blank = np.ones((height, width), bool)
    x, y = np.floor(points - low).astype(int).T
    blank[np.minimum(y, height - 1), np.minimum(x, width - 1)] = False
    away = np.asarray(ndimage.distance_transform_edt(blank))
    ink = np.clip(pen / 2 - away + 0.5, 0, 1)
    return Image.fromarray(np.rint(255 * ink).astype(np.uint8))


def draw_form(digit: int, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw one of the forms of a digit, each of its points a little elsewhere."""
    forms = FORMS[digit]
    strokes = forms[rng.integers(len(forms))]
    moved: dict[tuple[float, float], np.ndarray] = {}  # strokes that meet still do
    for point in (point for stroke in strokes for point in stroke):
        moved.setdefault(point, np.array(point) + rng.normal(0, WOBBLE, 2))
    return np.concatenate([_through([moved[point] for point in stroke]) for stroke in strokes])


def centre_line(scan: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "N 2"]:
    """Return points (x, y) on the centre line of a scan's strokes, in pixels of its enlargement."""
    return _centre_line(scan.astype(np.float32).tobytes(), scan.shape[0])


@cache
def _centre_line(scan: bytes, rows: int) -> Float[np.ndarray, "N 2"]:
    pixels = np.frombuffer(scan, np.float32).reshape(rows, -1)
    if rows < COARSE:
        ink = sharpen(pixels) > STROKE
    else:  # strokes are several pixels wide: lifting them would break the thin ones
        ink = ndimage.gaussian_filter(ndimage.zoom(np.pad(pixels, 2), 5, order=3), 1.0) > 0.35
    return np.argwhere(skeletonize(ink))[:, ::-1].astype(np.float64)


def _through(points: Sequence[Float[np.ndarray, "2"]]) -> Float[np.ndarray, "N 2"]:
    """Return points on a smooth curve, as far apart in time as their pivots are in space."""
    pivots = np.stack(points)
    steps = np.sqrt(np.linalg.norm(np.diff(pivots, axis=0), axis=1)) + 1e-6  # centripetal
    times = np.concatenate([[0.0], np.cumsum(steps)])
    return CubicSpline(times, pivots)(np.linspace(0, times[-1], SPACING))


def _write(points: Float[np.ndarray, "N 2"], rng: np.random.Generator) -> np.ndarray:
    """Write points in a hand: bent smoothly, then stretched, slanted and turned."""
    middle = points.mean(0)
    size = max(float(np.ptp(points, axis=0).max()), 1e-6)
    unit = (points - middle) / size
    # A smooth field: three waves of about the digit's size, each of a random direction.
    for _ in range(3):
        direction, phase = rng.normal(0, 1, 2) * 3.0, rng.uniform(0, 2 * np.pi)
        unit = unit + rng.normal(0, 0.035, 2) * np.sin(unit @ direction + phase)[:, None]
    turn, slant = rng.normal(0, 0.12), rng.normal(0, 0.25)
    stretch = np.exp(rng.normal(0.05, 0.25))
    cos, sin = np.cos(turn), np.sin(turn)
    hand = np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, -slant], [0.0, 1.0]])
    return unit @ hand.T
