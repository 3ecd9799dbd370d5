"""Colour, place, size and motion of one drawn object, measured from pixels by plain code.

Nothing here is learned: the background is what the border shows, the object what differs from it.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor

from multimodal.factors import COLOUR_RGB, COLOURS, MOTIONS

# An ink this dark is black, one this pale is white (or grey); every other is named by its hue.
BLACK_VALUE = 0.25
WHITE_SATURATION = 0.25
# Of the strongest contrast in a picture: what counts as ink, as the edge of a stroke, as nothing.
INK = 0.75
EDGE = 0.4
NOISE = 0.15
# Contrast of a picture below which there is no object to speak of (of 1: black on white).
VISIBLE = 0.1
# Pixels between the first and the last frame below which an object stands still.
STILL = 2.0


@dataclass(frozen=True)
class Drawn:
    """What a batch of pictures shows."""

    contrast: Float[Tensor, "B H W"]  # distance from the background, 1 at the strongest
    ink: Float[Tensor, "B 3"]  # colour of the object, 0 to 1
    centre: Float[Tensor, "B 2"]  # centroid (y, x) in pixels
    height: Float[Tensor, "B"]  # pixels from the top to the bottom edge
    visible: Float[Tensor, "B"]  # strongest contrast, 0 to 1


def look(image: Float[Tensor, "B 3 H W"]) -> Drawn:
    """Separate the object from the background and measure it. Pixels in [-1, 1]."""
    pixels_B3HW = (image.clamp(-1, 1) + 1) / 2
    away_BHW = (pixels_B3HW - background(pixels_B3HW)[:, :, None, None]).abs().amax(1)
    strongest_B = away_BHW.amax((1, 2))
    contrast_BHW = away_BHW / strongest_B.clamp(min=1e-6)[:, None, None]
    return Drawn(
        contrast=contrast_BHW,
        ink=_ink(pixels_B3HW, contrast_BHW),
        centre=_centre(contrast_BHW),
        height=_height(contrast_BHW),
        visible=strongest_B,
    )


def background(pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C"]:
    """Median of the border, two pixels wide: an object that touches it is outvoted."""
    sides = [pixels[..., :2, :], pixels[..., -2:, :]]
    flanks = [pixels[..., 2:-2, :2], pixels[..., 2:-2, -2:]]
    return torch.cat([rearrange(x, "B C H W -> B C (H W)") for x in sides + flanks], -1).median(-1)[
        0
    ]


def name_colour(ink: Float[Tensor, "B 3"]) -> Int[Tensor, "B"]:
    """Index in COLOURS by value (black), saturation (white), else the nearest hue on the circle."""
    value_B, floor_B = ink.amax(1), ink.amin(1)
    chromatic = [name for name in COLOURS if name not in ("black", "white")]
    hues_N = hue(torch.tensor([COLOUR_RGB[name] for name in chromatic]) / 255)
    turn_BN = hue(ink)[:, None] - hues_N
    nearest_B = (turn_BN - turn_BN.round()).abs().argmin(1)
    named_B = torch.tensor([COLOURS.index(name) for name in chromatic])[nearest_B]
    pale = (value_B - floor_B) < WHITE_SATURATION * value_B
    named_B = torch.where(pale, COLOURS.index("white"), named_B)
    return torch.where(value_B < BLACK_VALUE, COLOURS.index("black"), named_B)


def hue(rgb: Float[Tensor, "B 3"]) -> Float[Tensor, "B"]:
    """Angle on the colour circle in turns: red 0, green 1/3, blue 2/3."""
    red, green, blue = rgb.unbind(1)
    return torch.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue) / (2 * math.pi) % 1


def colour(image: Float[Tensor, "B 3 H W"]) -> Int[Tensor, "B"]:
    """Index in COLOURS of the object in each picture, -1 where there is none to see."""
    drawn = look(image)
    return torch.where(drawn.visible > VISIBLE, name_colour(drawn.ink), -1)


def clip_colour(video: Float[Tensor, "B F 3 H W"]) -> Int[Tensor, "B"]:
    """Index in COLOURS of the ink averaged over the frames of each clip."""
    drawn = look(rearrange(video, "B F C H W -> (B F) C H W"))
    frames = video.shape[1]
    ink = reduce(drawn.ink, "(B F) C -> B C", "mean", F=frames)
    visible = reduce(drawn.visible, "(B F) -> B", "mean", F=frames)
    return torch.where(visible > VISIBLE, name_colour(ink), -1)


def motion(video: Float[Tensor, "B F 3 H W"]) -> Int[Tensor, "B"]:
    """Index in MOTIONS: the longer axis of the way from the first centroid to the last."""
    drawn = look(rearrange(video, "B F C H W -> (B F) C H W"))
    centre_BF2 = rearrange(drawn.centre, "(B F) A -> B F A", F=video.shape[1])
    down, right = (centre_BF2[:, -1] - centre_BF2[:, 0]).unbind(1)
    vertical = torch.where(down > 0, MOTIONS.index("down"), MOTIONS.index("up"))
    sideways = torch.where(right > 0, MOTIONS.index("right"), MOTIONS.index("left"))
    moved = torch.where(down.abs() > right.abs(), vertical, sideways)
    still = torch.maximum(down.abs(), right.abs()) < STILL
    return torch.where(still, MOTIONS.index("still"), moved)


def clip_height(video: Float[Tensor, "B F 3 H W"]) -> Float[Tensor, "B"]:
    """Height of the object in pixels, the median over frames."""
    drawn = look(rearrange(video, "B F C H W -> (B F) C H W"))
    return rearrange(drawn.height, "(B F) -> B F", F=video.shape[1]).median(1)[0]


def _ink(
    pixels: Float[Tensor, "B 3 H W"], contrast: Float[Tensor, "B H W"]
) -> Float[Tensor, "B 3"]:
    weight_BHW = (contrast >= INK).float()
    total_B3 = reduce(pixels * weight_BHW[:, None], "B C H W -> B C", "sum")
    return total_B3 / reduce(weight_BHW, "B H W -> B 1", "sum").clamp(min=1)


def _centre(contrast: Float[Tensor, "B H W"]) -> Float[Tensor, "B 2"]:
    weight_BHW = (contrast - EDGE).clamp(min=0)
    mass_B = reduce(weight_BHW, "B H W -> B", "sum").clamp(min=1e-6)
    rows, columns = (torch.arange(size, dtype=torch.float32) for size in contrast.shape[1:])
    y_B = (reduce(weight_BHW, "B H W -> B H", "sum") * rows).sum(1) / mass_B
    x_B = (reduce(weight_BHW, "B H W -> B W", "sum") * columns).sum(1) / mass_B
    return torch.stack([y_B, x_B], 1)


def _height(contrast: Float[Tensor, "B H W"]) -> Float[Tensor, "B"]:
    """Rows from the first to the last that hold an edge; both ends count by their strength."""
    profile_BH = contrast.amax(2)
    held = profile_BH >= EDGE
    rows_H = torch.arange(held.shape[1])
    first_B1 = held.float().argmax(1, keepdim=True)
    last_B1 = held.shape[1] - 1 - held.flip(1).float().argmax(1, keepdim=True)
    outside_BH = torch.maximum(first_B1 - rows_H, rows_H - last_B1)
    end_BH = ((profile_BH - NOISE) / (1 - 2 * NOISE)).clamp(0, 1) * (outside_BH <= 1)
    return torch.where(outside_BH < 0, 1.0, end_BH).sum(1)
