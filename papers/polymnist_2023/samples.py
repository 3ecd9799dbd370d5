"""What a system generated, in one form for all systems: a name a direction, bytes a picture.

`m0+m2>m1` holds view m1 generated from views m0 and m2 of each source, `>m1` joint samples.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.errors import UserError
from core.files import existing_file, new_file
from core.members import to_bytes, to_float
from papers.polymnist_2023.views import VIEWS

Samples = Mapping[str, Float[Tensor, "_ 3 H W"]]
"""Name of a direction -> pictures in [-1, 1]."""


def subsets() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield what is given and what is wanted: every proper subset, the empty one first."""
    for size in range(len(VIEWS)):
        for given in combinations(VIEWS, size):
            yield given, tuple(view for view in VIEWS if view not in given)


def name(given: tuple[str, ...], wanted: str) -> str:
    """Return the name of a direction."""
    return f"{'+'.join(given)}>{wanted}"


def save_samples(path: Path, samples: Samples) -> None:
    """Write samples as compressed bytes."""
    arrays = {key: to_bytes(pictures).numpy() for key, pictures in samples.items()}
    with new_file(path) as partial:
        np.savez_compressed(partial, **arrays)  # pyright: ignore[reportArgumentType]


def load_samples(path: Path) -> Samples:
    """Read what a system generated; every direction must be there."""
    with np.load(existing_file(path)) as arrays:
        samples = {key: to_float(torch.from_numpy(arrays[key])) for key in arrays.files}
    missing = {name(g, w) for g, wanted in subsets() for w in wanted} - samples.keys()
    if missing:
        raise UserError(
            f"{path} lacks {min(missing)} and {len(missing) - 1} other directions; generate again"
        )
    return samples
