"""Two classifiers that are solved, not descended: what the second readers learn with.

Each is a few tensors, fitted in closed form, and reads several factors from one description;
`predict` wants the factors in the order in which `fit` was given them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from multimodal.factors import LABELS

ANCHORS = 2500  # of 5,000 signals: within 0.2 points of the accuracy with all of them
RIDGE = 0.01
SURE = 0.5  # probability below which words name nothing

Truth = Mapping[str, Int[Tensor, "N"]]


@dataclass(frozen=True)
class KernelMachine:
    """Least squares on label indicators under a Gaussian kernel, carried by some of the samples.

    Source: Rifkin, Yeo and Poggio 2003 (regularised least-squares classification).
    """

    anchors: Float[Tensor, "A D"]
    """Descriptions that new ones are compared with."""
    weights: Float[Tensor, "A L"]
    """Of each anchor in the score of each label."""
    bias: Float[Tensor, "L"]
    """Share of each label."""
    gamma: Float[Tensor, ""]
    """One over the mean squared distance of two samples."""

    @classmethod
    def fit(cls, x: Float[Tensor, "N D"], truth: Truth) -> "KernelMachine":
        """Solve for the weights; samples come in random order, so the first are the anchors."""
        x, anchors = x.double(), x[:ANCHORS].double()
        gamma = 1 / (2 * x.var(0, correction=0).sum()).clamp(min=1e-9)
        kernel_NA, kernel_AA = _gauss(x, anchors, gamma), _gauss(anchors, anchors, gamma)
        system_AA = kernel_NA.T @ kernel_NA + RIDGE * kernel_AA
        system_AA.diagonal().add_(1e-8 * len(x))  # equal anchors leave it singular
        target_NL = torch.cat([one_hot(y, LABELS[f]) for f, y in truth.items()], 1).double()
        bias = target_NL.mean(0)
        factor_AA = torch.linalg.cholesky(system_AA)
        weights = torch.cholesky_solve(kernel_NA.T @ (target_NL - bias), factor_AA)
        return cls(anchors.float(), weights.float(), bias.float(), gamma.float())

    def predict(self, x: Float[Tensor, "B D"], factors: tuple[str, ...]) -> dict[str, Tensor]:
        """The labels of the highest scores."""
        scores = _gauss(x, self.anchors, self.gamma) @ self.weights + self.bias
        parts = scores.split([LABELS[factor] for factor in factors], dim=1)
        return {factor: part.argmax(1) for factor, part in zip(factors, parts, strict=True)}


@dataclass(frozen=True)
class NaiveBayes:
    """Multinomial naive Bayes over counts (McCallum and Nigam 1998)."""

    prior: Float[Tensor, "L"]
    """Log share of each label."""
    likelihood: Float[Tensor, "D L"]
    """Log probability of each count's bin given the label."""

    @classmethod
    def fit(cls, x: Float[Tensor, "N D"], truth: Truth) -> "NaiveBayes":
        """Count; every bin is as if seen once more for each label."""
        target_NL = torch.cat([one_hot(y, LABELS[f]) for f, y in truth.items()], 1).to(x.dtype)
        counts_DL = x.T @ target_NL + 1
        share_L = (target_NL.sum(0) + 1) / (len(x) + 1)
        return cls(share_L.log(), (counts_DL / counts_DL.sum(0)).log())

    def predict(self, x: Float[Tensor, "B D"], factors: tuple[str, ...]) -> dict[str, Tensor]:
        """The most probable labels, -1 where none is more probable than not."""
        parts = (x @ self.likelihood + self.prior).split([LABELS[f] for f in factors], dim=1)
        best = [part.softmax(1).max(1) for part in parts]
        return {
            factor: torch.where(found.values > SURE, found.indices, -1)
            for factor, found in zip(factors, best, strict=True)
        }


Learner = KernelMachine | NaiveBayes


def _gauss(
    first: Float[Tensor, "P D"], second: Float[Tensor, "Q D"], gamma: Float[Tensor, ""]
) -> Float[Tensor, "P Q"]:
    """exp(-gamma |x - y|^2) of all pairs."""
    squares = first.square().sum(1)[:, None] + second.square().sum(1) - 2 * first @ second.T
    return (-gamma * squares.clamp(min=0)).exp()
