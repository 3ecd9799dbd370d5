"""The factors of the world: what a scene shows, and which combinations no training set may see."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Split = Literal["train", "readers", "val", "test"]
Factor = Literal["digit", "colour", "motion", "size"]

SPLITS: tuple[Split, ...] = get_args(Split)
FACTORS: tuple[Factor, ...] = get_args(Factor)
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan", "white", "black")
MOTIONS = ("still", "left", "right", "up", "down")
SIZES = ("tiny", "small", "big", "huge")
COLOUR_RGB = {
    "red": (225, 35, 35),
    "green": (25, 160, 55),
    "blue": (40, 70, 225),
    "yellow": (245, 210, 20),
    "purple": (145, 40, 190),
    "cyan": (20, 200, 220),
    "white": (250, 250, 250),
    "black": (8, 8, 8),
}
LABELS: Mapping[str, int] = {"digit": 10, "colour": len(COLOURS), "motion": len(MOTIONS)}
"""Number of labels of each factor that has any."""
STEPS = {"still": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Direction of each motion as (x, y), y downwards."""


@dataclass(frozen=True)
class Factors:
    """What a scene shows, whatever the modality."""

    digit: int
    """0 to 9."""
    colour: str
    """One of COLOURS."""
    motion: str
    """One of MOTIONS."""
    size: float
    """From 0 (tiny) to 1 (huge), shared by pixels, pitch and words."""


def held_out(digit: int, colour: str, motion: str) -> bool:
    """Tell whether a (digit, colour) or (digit, motion) pair belongs to the compositional test.

    Two Latin squares of order five, so every digit, colour and motion is seen in training, and
    each square holds out a fifth of its pairs.
    """
    by_colour = (digit + COLOURS.index(colour)) % 5 == 0
    by_motion = (digit - MOTIONS.index(motion)) % 5 == 2
    return by_colour or by_motion


def size_word(size: float) -> str:
    """Return the word for a size: the quarters of [0, 1] in order."""
    return SIZES[min(int(size * len(SIZES)), len(SIZES) - 1)]
