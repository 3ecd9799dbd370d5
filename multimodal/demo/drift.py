"""How far what comes in lies from what was trained on."""

from collections import deque
from collections.abc import Mapping
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor

from multimodal.prior import PriorModule

WINDOW = 256
"""Inputs of a modality that are looked back on."""
SMALLEST = 1e-3
"""Share of the largest variance below which a direction is not looked at: it is noise."""


class Drift:
    """Mahalanobis distances of input embeddings from the training distribution.

    The mean squared distance over its dimensions is about 1 for inputs like those of training, and
    larger where people draw, say or film something else. A modality that may be observed in part
    is compared with the partial signals of training.

    Args:
        prior: Holds the mean and covariance of the training embeddings.
    """

    def __init__(self, prior: PriorModule):
        tokens, width = prior.tokens, prior.mean.shape[1]
        self.recent: dict[str, deque[float]] = {m: deque(maxlen=WINDOW) for m in tokens.modalities}
        self._whitening = {}
        for modality, source in tokens.sources.items():
            slot = tokens.slots.index(source)
            part = slice(slot * width, (slot + 1) * width)
            scale = _whitening(prior.covariance[part, part].double())
            mean, std = (x[slot].double() for x in (prior.mean, prior.std))
            self._whitening[modality] = (mean, scale / std[:, None])

    def distances(self, modality: str, embeddings: Float[Tensor, "B E"]) -> Float[Tensor, "B"]:
        """Return squared Mahalanobis distances, divided by the number of directions."""
        mean, whitening = self._whitening[modality]
        return ((embeddings.double() - mean) @ whitening).square().mean(dim=1)

    def note(self, embedded: Mapping[str, Float[Tensor, "B E"]]) -> None:
        """Remember the inputs of some requests."""
        for modality, rows in embedded.items():
            self.recent[modality].extend(self.distances(modality, rows).tolist())

    def __call__(self, modality: str) -> float:
        """Return the mean over the most recent inputs; NaN where there were none."""
        recent = list(self.recent[modality])
        return fmean(recent) if recent else float("nan")


def _whitening(covariance: Float[Tensor, "E E"]) -> Float[Tensor, "E K"]:
    """Return what turns standardised rows into uncorrelated ones of variance 1."""
    variances, directions = torch.linalg.eigh(covariance)
    kept = variances > SMALLEST * variances.max()
    return directions[:, kept] / variances[kept].sqrt()
