"""Contrastive losses: pure functions of embeddings."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def info_nce(
    a: Float[Tensor, "B E"], b: Float[Tensor, "B E"], scale: Float[Tensor, ""] | float
) -> Float[Tensor, ""]:
    """Return the symmetric cross-entropy of finding each row's partner among all rows.

    Source: van den Oord et al. 2018, eq. 4; symmetric as in Radford et al. 2021 (CLIP), figure 3.

    Args:
        a: Unit vectors of one modality.
        b: Unit vectors of another, row i belonging to row i.
        scale: The inverse temperature.
    """
    logits = scale * a @ b.T
    target = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
