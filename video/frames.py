"""Which frames of a clip are taken: evenly in time, whatever lies between two of them."""

from bisect import bisect, bisect_left
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.pictures import check_sides

FRAMES = (2, 20_000)
"""Fewest and most frames of a clip; the most are ten minutes at 33 a second."""
FRAME = 9_000_000
"""Most pixels of a frame, a little above 4096x2160; a decoder may hold seventeen of them."""
DETAIL = 512
"""Shorter side in pixels to which larger frames are first reduced."""


def evenly(count: int, wanted: int) -> list[int]:
    """Return `wanted` frame numbers from the first of `count` to the last."""
    return [round(number) for number in np.linspace(0, count - 1, wanted)]


def nearest(times: Sequence[int], wanted: int) -> list[int]:
    """Return the times of frames nearest to `wanted` moments from the first to the last, evenly.

    A film's frames are samples taken at these times. Where they are equally far apart, this is
    `evenly`.

    Args:
        times: Of all frames, sorted, all different, in any unit.
    """
    steps, span = max(1, wanted - 1), times[-1] - times[0]
    scaled = [(time - times[0]) * steps for time in times]  # integers, so that ties are exact
    picked = []
    for number in range(wanted):
        after = bisect_left(scaled, span * number)
        near = [place for place in (after - 1, after) if 0 <= place < len(times)]
        picked.append(min(near, key=lambda place: (abs(scaled[place] - span * number), place % 2)))
    return [times[place] for place in picked]


def shown(durations: Sequence[int], wanted: int) -> list[int]:
    """Return the numbers of the frames shown at `wanted` moments, evenly from first to last.

    An animation holds each frame for its own time, the last one too. It is cut into ticks as long
    as its shortest frame, of which the wanted ones are taken `evenly`.

    Args:
        durations: Of all frames, in any unit, positive.
    """
    tick = min(durations)
    if tick == max(durations):
        return evenly(len(durations), wanted)
    starts = [0, *accumulate(durations)]
    moments = np.linspace(0, starts[-1] - tick, wanted) + tick / 2
    return [min(bisect(starts, moment), len(durations)) - 1 for moment in moments]


def check_frame(path: Path, size: tuple[int, int]) -> None:
    """Raise if a frame is too small to hold anything or too large to hold many of."""
    check_sides(path, size)
    if size[0] * size[1] > FRAME:
        raise UserError(
            f"{path} has frames of {size[0]}x{size[1]} pixels but {FRAME:,} pixels are the most of "
            "a clip; scale it"
        )


def check_count(path: Path, count: int) -> None:
    """Raise if so many frames are no clip."""
    if not FRAMES[0] <= count <= FRAMES[1]:
        way_out = "cut it shorter" if count > FRAMES[1] else "give a still picture as an image"
        raise UserError(
            f"{path} holds {count} frames but a clip has {FRAMES[0]} to {FRAMES[1]}; {way_out}"
        )
