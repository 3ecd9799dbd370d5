"""Embeddings given as files."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.files import existing_file


def read_embeddings(path: str | Path, count: int, width: int) -> Float[Tensor, "N E"]:
    """Return `count` unit vectors from a .npy file of one [E] or several [N, E], used in turn."""
    file = existing_file(path)
    try:
        values = np.load(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError(
            f"{path} is no .npy array of numbers ({error}); save it with numpy.save"
        ) from error
    values = np.atleast_2d(values)
    if values.ndim != 2 or values.shape[1] != width or not np.issubdtype(values.dtype, np.floating):
        raise ValueError(
            f"{path} holds {values.dtype} {values.shape} but the model takes float [N, {width}];"
            " write embeddings with the run's own towers: python -m multimodal.embed"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds numbers that are not finite; write it again")
    rows = torch.from_numpy(values).float()[torch.arange(count) % len(values)]
    return torch.nn.functional.normalize(rows, dim=-1)
