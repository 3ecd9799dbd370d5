"""From a canvas of any size to the small square that a model sees.

A user draws a digit on a sheet of 3000 x 2000 pixels, or sends a photograph. Both must become a
square of, say, 32 pixels, and the digit must then be as large as those that the model knows. Two
ways to fit:

- `plain` takes the largest centred square.
- `auto` does the same with a photograph. But where the background is near uniform it looks for the
  drawing, and moves the square so that it holds it. If the drawing is between `SCALES` of the
  square's height it keeps its scale, as size means something; a smaller or larger one (a small
  digit on a large sheet, or one that fills it) is brought to the nearer end of that range, so that
  what is larger stays larger. A drawing further than `WANDER` from the middle is brought there. The
  background continues where the square leaves the canvas.

The frames of a clip share one square, so that motion survives.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

SQUARE = 1.1
"""Longer over shorter side up to which taking the square in the middle is no loss to speak of."""
Fit = Literal["auto", "plain"]
"""How a canvas becomes a square: by looking for a drawing on it, or not."""

SCALES = (13 / 32, 23 / 32)
"""Least and greatest height of a drawing, as a share of the square's."""
WANDER = 3 / 32
"""Distance of a drawing from the middle, as a share of the square's side, that is left as it is."""
MARGIN = 1.15
"""Least side of the square over the longer side of the drawing."""
UNIFORM = 0.15
"""Spread of the border, in units of the full range [0, 1], up to which it counts as uniform."""
CROSSED = 0.4
"""Share of the border that strokes of one colour may cover; its softened edges are a fifth."""
LOOK = 256
"""Longer side in pixels of the reduced copy on which the drawing is looked for."""
SPECK = 0.02
"""Share of the largest stroke's area below which a stroke is dust."""


@dataclass(frozen=True)
class Square:
    """A square on a canvas, in pixels; it may reach beyond the canvas."""

    top: int
    left: int
    side: int


@dataclass(frozen=True)
class Box:
    """The drawing's bounds on a canvas, in pixels: [top, bottom) x [left, right)."""

    top: float
    bottom: float
    left: float
    right: float
    tallest: float
    """Height of the drawing in a single frame, at most `bottom - top`."""


def to_square(frames: Float[Tensor, "N 3 H W"], size: int, fit: Fit) -> Float[Tensor, "N 3 S S"]:
    """Return the frames as squares of `size` pixels, cut out as the module's docstring says."""
    height, width = frames.shape[-2:]
    background = _background(frames)
    square = centred(height, width)
    if fit == "auto" and background is not None and (height, width) != (size, size):
        box = find_drawing(frames, background)
        square = around(box, height, width) if box else square
    return resize(cut(frames, square, background), size)


def is_cropped(frames: Float[Tensor, "N 3 H W"], fit: Fit) -> bool:
    """Tell whether `to_square` cuts edges off that are no background: of what is long."""
    height, width = frames.shape[-2:]
    long = max(height, width) > SQUARE * min(height, width)
    return long and (fit == "plain" or _background(frames) is None)


def centred(height: int, width: int) -> Square:
    """Return the largest square in the middle of a canvas."""
    side = min(height, width)
    return Square((height - side) // 2, (width - side) // 2, side)


def around(box: Box, height: int, width: int) -> Square:
    """Return the square that shows a drawing at a scale and about where the model knows it."""
    side = min(height, width)
    longer = max(box.bottom - box.top, box.right - box.left)
    scale = min(max(box.tallest / side, SCALES[0]), SCALES[1])
    if scale != box.tallest / side or longer > side:
        side = round(max(box.tallest / scale, longer * MARGIN))
    own, middle = centred(height, width), _centred_on(box, side)
    off = max(abs(own.top - middle.top), abs(own.left - middle.left))
    return own if side == own.side and off <= WANDER * side else middle


def _centred_on(box: Box, side: int) -> Square:
    top, left = (box.top + box.bottom - side) / 2, (box.left + box.right - side) / 2
    return Square(round(top), round(left), side)


def find_drawing(frames: Float[Tensor, "N 3 H W"], background: Float[Tensor, "3"]) -> Box | None:
    """Return the bounds of what differs from the background in any frame, or None for nothing."""
    height, width = frames.shape[-2:]
    scale = max(1.0, max(height, width) / LOOK)
    small = F.interpolate(frames, (max(1, int(height / scale)), max(1, int(width / scale))),
                          mode="bilinear", antialias=True)  # fmt: skip
    ink = torch.stack([_without_specks(frame) for frame in _ink(small, background)])
    rows, columns = ink.any(2).any(0).nonzero(), ink.any(1).any(0).nonzero()
    if not len(rows):
        return None
    down, right = height / ink.shape[1], width / ink.shape[2]
    tallest = max(_extent(frame.any(1)) for frame in ink)
    return Box(
        rows[0].item() * down,
        (rows[-1].item() + 1) * down,
        columns[0].item() * right,
        (columns[-1].item() + 1) * right,
        tallest * down,
    )


def cut(
    frames: Float[Tensor, "N 3 H W"], square: Square, background: Float[Tensor, "3"] | None
) -> Float[Tensor, "N 3 S S"]:
    """Return the square, with the background where it leaves the canvas."""
    height, width = frames.shape[-2:]
    bottom, right = square.top + square.side, square.left + square.side
    top, left = max(square.top, 0), max(square.left, 0)
    inside = frames[..., top : min(bottom, height), left : min(right, width)]
    if background is None or inside.shape[-2:] == (square.side, square.side):
        return inside
    sheet = background[:, None, None].expand(len(frames), 3, square.side, square.side).clone()
    y, x = top - square.top, left - square.left
    sheet[..., y : y + inside.shape[-2], x : x + inside.shape[-1]] = inside
    return sheet


def resize(frames: Float[Tensor, "N 3 S S"], size: int) -> Float[Tensor, "N 3 Z Z"]:
    """Return squares of another size; by block means where they fit, so that an export is undone.

    Any other size is resampled with an antialiased triangle filter.
    """
    factor, rest = divmod(frames.shape[-1], size)
    if factor and not rest:
        return reduce(frames, "n c (h a) (w b) -> n c h w", "mean", a=factor, b=factor)
    return F.interpolate(frames, (size, size), mode="bilinear", antialias=True).clamp(-1, 1)


def _background(frames: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "3"] | None:
    """Return the colour of the border if it is near uniform: in 95 of 100 pixels.

    A stroke may cross it: what differs may be more, up to `CROSSED`, where it is of one colour.
    """
    wide = max(1, min(frames.shape[-2:]) // 50)
    edges = [frames[..., :wide, :], frames[..., -wide:, :]]
    sides = [frames[..., :wide], frames[..., -wide:]]
    border = torch.cat([rearrange(edge, "n c h w -> (n h w) c") for edge in edges + sides])
    colour = border.median(0).values
    far = _distance(border, colour) > UNIFORM
    if far.float().mean() <= 0.05:
        return colour
    stroke = border[far]
    one_colour = (_distance(stroke, stroke.median(0).values) <= UNIFORM).float().mean() >= 0.8
    return colour if one_colour and far.float().mean() <= CROSSED else None


def _distance(pixels: Float[Tensor, "P 3"], colour: Float[Tensor, "3"]) -> Float[Tensor, "P"]:
    """Return how far pixels in [-1, 1] are from a colour, in units of the full range."""
    return (pixels - colour).abs().amax(1) / 2


def _ink(frames: Float[Tensor, "N 3 H W"], background: Float[Tensor, "3"]) -> Bool[Tensor, "N H W"]:
    return (frames - background[:, None, None]).abs().amax(1) / 2 > UNIFORM


def _without_specks(ink: Bool[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    from scipy.ndimage import generate_binary_structure, label

    labels = np.empty(ink.shape, np.int32)
    label(ink.numpy(), structure=generate_binary_structure(2, 2), output=labels)
    areas = torch.from_numpy(np.bincount(labels.ravel()))
    areas[0] = 0
    return (areas >= SPECK * areas.max())[torch.from_numpy(labels).long()] & ink


def _extent(line: Bool[Tensor, "L"]) -> int:
    marked = line.nonzero()
    return int(marked[-1] - marked[0]) + 1 if len(marked) else 0
