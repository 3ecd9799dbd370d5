"""Digits drawn on the page's sheet and named by a run's captions, in hands it never saw.

    python -m benchmarks.drawn_digits --run runs/quickstart --mnist data/mnist

The drawings follow MNIST's *test* digits, which nothing of a default quick start has seen: the
centre line of each is drawn again with a round pen, on a white sheet of 300 to 900 pixels, in one
of the page's colours, of any size and at any place. Each gets one caption, as its file would from
`multimodal.generate --image drawing.png --to text`. Intervals are bootstrapped over the drawings,
each of a digit of its own.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from scipy import ndimage
from skimage.morphology import remove_small_objects, skeletonize
from torch import Tensor

from core.canvas import to_square
from core.cli import command
from core.errors import UserError
from core.files import new_file
from multimodal.captions import parse_caption
from multimodal.digits import load_digits
from multimodal.metrics import bootstrap_interval
from multimodal.unison import Unison

INKS = {
    "black": "#101010", "red": "#d62828", "green": "#2a9d3a", "blue": "#2f4bd6",
    "yellow": "#e8c61e", "purple": "#8a2bc2", "cyan": "#12b5c9",
}  # fmt: skip
"""The page's colours but white, which does not show on its sheet."""
SHEET = (300, 900)
"""Least and greatest side of a sheet, in pixels."""
HEIGHT = (0.3, 0.85)
"""Of a drawing, as a share of the sheet's side."""
PEN = (0.035, 0.09)
"""Diameter of the pen, as a share of the sheet's side; the page's is 0.07."""
TEST = range(60_000, 70_000)
"""MNIST's test digits among those that `load_digits` returns."""
ENLARGED = 8
SPECK = 4
"""Points of a centre line that are left out where no more hang together."""


@dataclass(frozen=True)
class Drawing:
    """One drawing and what it shows."""

    digit: int
    """0 to 9."""
    colour: str
    """Key of `INKS`."""
    sheet: UInt8[np.ndarray, "S S 3"]
    """The sheet as the page sends it."""


def drawn_digits(
    run: Path,
    mnist: Path,
    n: int = 60,
    seed: int = 0,
    batch_size: int = 50,
    out: Path | None = None,
) -> None:
    """Draw, ask for captions, and print the share of right digits and colours.

    Args:
        run: Folder of `make quickstart`.
        mnist: Folder of MNIST's idx files.
        n: Drawings a digit.
        seed: Of drawings and captions.
        batch_size: Drawings at a time.
        out: JSON file to write the figures to.
    """
    if not 1 <= n <= 800:
        raise UserError(f"n is {n}; choose 1 to 800, as MNIST's test has 892 of the rarest digit")
    unison = Unison(run)
    drawings = draw_all(mnist, n, seed)
    parts = [drawings[i : i + batch_size] for i in range(0, len(drawings), batch_size)]
    captions: list[str] = []
    for part in parts:
        captions += describe(unison, part, first_seed=seed + len(captions))
    numbers = score(drawings, captions, seed)
    print(markdown(numbers))
    if out is not None:
        with new_file(out) as file:
            file.write_text(json.dumps(numbers, indent=1))


def draw_all(mnist: Path, n: int, seed: int) -> list[Drawing]:
    """Return `n` drawings of each digit, each after another test digit of MNIST."""
    digits, rng = load_digits("mnist", mnist), np.random.default_rng(seed)
    labels = digits.labels[TEST.start : TEST.stop]
    return [
        draw(digit, centre_line(digits.images[TEST.start + index]), rng)
        for digit in range(10)
        for index in rng.choice(np.flatnonzero(labels == digit), n, replace=False)
    ]


def centre_line(scan: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "N 2"]:
    """Return points (x, y) on the middle of a scan's strokes; specks are left out."""
    fine = ndimage.zoom(np.pad(scan, 2), ENLARGED, order=3)
    line = skeletonize(ndimage.gaussian_filter(fine, 1.0) > 0.3)
    line = remove_small_objects(line, max_size=SPECK, connectivity=2)
    return np.argwhere(line)[:, ::-1].astype(np.float64)


def draw(digit: int, points: Float[np.ndarray, "N 2"], rng: np.random.Generator) -> Drawing:
    """Draw a centre line with a round pen, of a random size, at a random place of a sheet."""
    side = int(rng.integers(SHEET[0], SHEET[1] + 1))
    height, pen = side * rng.uniform(*HEIGHT), side * rng.uniform(*PEN)
    pen = min(pen, height / 5)
    extent = np.ptp(points, axis=0)
    scale = min((height - pen) / extent[1], (0.95 * side - pen) / max(extent[0], 1.0))
    path = (points - points.min(0)) * scale
    room = np.maximum(side - np.ptp(path, axis=0) - pen, 0)
    path = path + pen / 2 + room * rng.uniform(0.02, 0.98, 2)
    blank = np.ones((side, side), bool)
    x, y = np.clip(np.rint(path).astype(int), 0, side - 1).T
    blank[y, x] = False
    away = np.asarray(ndimage.distance_transform_edt(blank))
    cover = rearrange(np.clip(pen / 2 - away + 0.5, 0, 1), "y x -> y x 1")
    colour = list(INKS)[rng.integers(len(INKS))]
    ink = np.array([int(INKS[colour][i : i + 2], 16) for i in (1, 3, 5)])
    return Drawing(digit, colour, np.rint(255 + cover * (ink - 255)).astype(np.uint8))


def describe(unison: Unison, drawings: list[Drawing], first_seed: int) -> list[str]:
    """Return one caption a drawing."""
    size = unison.sizes["image"]["size"]
    seeds = range(first_seed, first_seed + len(drawings))
    seen = torch.stack([_as_seen(drawing.sheet, size) for drawing in drawings])
    embeddings = unison.complete(unison.embed({"image": seen}), seeds=seeds)
    return unison.decode("text", embeddings["text"], seeds=seeds)


def score(drawings: list[Drawing], captions: list[str], seed: int) -> dict[str, Any]:
    """Return the shares of right digits and colours, with intervals, and what was confused."""
    read = [parse_caption(caption) or {} for caption in captions]
    digit = torch.tensor([d.digit for d in drawings])
    said = torch.tensor([int(r.get("digit", -1)) for r in read])
    right = (said == digit).float()
    colours = [r.get("colour") == d.colour for r, d in zip(read, drawings, strict=True)]
    low, high = bootstrap_interval(right, torch.arange(len(right)), seed=seed)
    return {
        "n": len(drawings),
        "digit": right.mean().item(),
        "interval": [low, high],
        "by_digit": [right[digit == d].mean().item() for d in range(10)],
        "colour": float(np.mean(colours)),
        "confused": confusions(digit, said),
    }


def confusions(digit: Int[Tensor, "N"], said: Int[Tensor, "N"]) -> dict[str, int]:
    """Return "drawn as said" -> how often, the most frequent first; -1 is no caption at all."""
    wrong = [(d, s) for d, s in zip(digit.tolist(), said.tolist(), strict=True) if d != s]
    counts = {pair: wrong.count(pair) for pair in set(wrong)}
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {f"{d} as {s}": count for (d, s), count in ordered}


def markdown(numbers: dict[str, Any]) -> str:
    """Return the figures as a table."""
    low, high = numbers["interval"]
    rows = [
        "| digit | right |",
        "| --- | --- |",
        *(f"| {digit} | {share:.3f} |" for digit, share in enumerate(numbers["by_digit"])),
        f"| all ({numbers['n']} drawings) | {numbers['digit']:.3f} ({low:.3f} to {high:.3f}) |",
        f"| colour | {numbers['colour']:.3f} |",
    ]
    confused = ", ".join(f"{pair} {count}" for pair, count in numbers["confused"].items())
    return "\n".join([*rows, "", f"confused: {confused or 'none'}"])


def _as_seen(sheet: UInt8[np.ndarray, "S S 3"], size: int) -> Float[Tensor, "3 Z Z"]:
    pixels = rearrange(torch.from_numpy(sheet).float() / 127.5 - 1, "y x c -> 1 c y x")
    return to_square(pixels, size, "auto")[0]


if __name__ == "__main__":
    sys.exit(command(drawn_digits))
