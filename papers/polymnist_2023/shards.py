"""Build the world of five views: python -m papers.polymnist_2023.shards --out data/poly."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange

from core.cli import command
from core.errors import UserError
from core.members import encode_png
from core.shards import write_shards
from multimodal.digits import Digits, DigitSource, load_digits
from multimodal.factors import SPLITS, Split
from papers.polymnist_2023.views import PIXELS, VIEWS, draw_view

MEMBERS = tuple(f"{view}.png" for view in VIEWS)


@dataclass(frozen=True)
class PolyConfig:
    """Which world to build; it determines every byte."""

    digits: DigitSource = "sklearn"
    """Handwriting."""
    seed: int = 0
    """Of everything drawn."""
    train: int = 10_000
    """Samples to train on."""
    readers: int = 5_000
    """Samples to train the independent readers on."""
    val: int = 500
    """Samples to choose settings by."""
    test: int = 2_000
    """Samples to test on: sources in the first half, the reference of distances in the second."""

    def __post_init__(self):
        if self.seed < 0:
            raise UserError(f"seed {self.seed} is negative; choose 0 or more")
        for split in SPLITS:
            if getattr(self, split) < 2:
                raise UserError(
                    f"{split} is {getattr(self, split)} but a split needs 2 samples or more"
                )


def shards(
    out: Path,
    digits: DigitSource = PolyConfig.digits,
    source: Path | None = None,
    seed: int = PolyConfig.seed,
    train: int = PolyConfig.train,
    readers: int = PolyConfig.readers,
    val: int = PolyConfig.val,
    test: int = PolyConfig.test,
) -> None:
    """Build train, readers, val and test; no handwritten instance is in two of them.

    Args:
        out: Folder to write.
        digits: Handwriting: scikit-learn's 8x8 scans, or MNIST.
        source: Folder of MNIST's idx files; else UNISON_DATA/mnist, else a download.
        seed: The same seed gives the same bytes.
        train: Samples to train on.
        readers: Samples to train the independent readers on.
        val: Samples to choose settings by.
        test: Samples to test on.
    """
    config = PolyConfig(digits, seed, train, readers, val, test)
    scans = load_digits(digits, source)
    for split in SPLITS:
        manifest = write_shards(
            out / split,
            samples(config, scans, split),
            required=(*MEMBERS, "json"),
            source=f"{scans.source}; procedural textures",
            licence=scans.licence,
            builder={"command": "papers.polymnist_2023.shards", "split": split, **asdict(config)},
            fields={"size": PIXELS},
        )
        print(f"{out / split}: {manifest.samples} samples, {manifest.dataset_id[:12]}")


def samples(config: PolyConfig, digits: Digits, split: Split) -> Iterator[dict[str, Any]]:
    """Yield the samples of a split; each is a pure function of (seed, split, index)."""
    for index in range(getattr(config, split)):
        rng = np.random.default_rng([config.seed, SPLITS.index(split), index])
        digit = int(rng.integers(10))
        drawn = {view: draw_view(view, digit, digits, split, rng) for view in VIEWS}
        pictures = {f"{view}.png": _png(pixels) for view, (pixels, _) in drawn.items()}
        facts = {"digit": digit, "instances": [instance for _, instance in drawn.values()]}
        yield {"__key__": f"{index:06d}", **pictures, "json": json.dumps(facts).encode()}


def _png(pixels: np.ndarray) -> bytes:
    return encode_png(torch.from_numpy(rearrange(pixels, "H W C -> C H W").copy()))


if __name__ == "__main__":
    command(shards)
