"""Embeddings as conditions: read from files, and made robust to a prior that misses a little."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import UserError
from core.files import existing_file
from core.noise import normal


def read_embeddings(path: str | Path, count: int, width: int) -> Float[Tensor, "N E"]:
    """Return `count` unit vectors from a .npy file of one [E] or several [N, E], used in turn."""
    file = existing_file(path)
    try:
        values = np.load(file, allow_pickle=False)
    except ValueError as error:
        raise UserError(
            f"{path} is no .npy array of numbers ({error}); save it with numpy.save"
        ) from error
    values = np.atleast_2d(values)
    if values.ndim != 2 or values.shape[1] != width or not np.issubdtype(values.dtype, np.floating):
        raise UserError(
            f"{path} holds {values.dtype} {values.shape} but the model takes float [N, {width}];"
            " write embeddings with the run's own towers: python -m multimodal.embed"
        )
    if not np.isfinite(values).all():
        raise UserError(f"{path} holds numbers that are not finite; write it again")
    rows = torch.from_numpy(values).float()[torch.arange(count) % len(values)]
    return torch.nn.functional.normalize(rows, dim=-1)


def corrupt(
    cond: Float[Tensor, "B E"], seeds: Int[Tensor, "B"], length: float
) -> Float[Tensor, "B E"]:
    """Add Gaussian noise of an expected length to unit vectors and renormalise.

    The prior's samples miss a tower's embedding by a little; a generator that has seen such misses
    is not thrown by them (Ho et al. 2022, cascaded diffusion, call it conditioning augmentation).
    """
    noise = normal(seeds, cond.shape[1:], stream=2) * (length / cond.shape[1] ** 0.5)
    return torch.nn.functional.normalize(cond + noise, dim=-1)
