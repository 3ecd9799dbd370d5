"""Pure functions that turn readings and features into the numbers of a report.

A *reading* maps a factor ("digit", "colour", "motion") to one label a sample; -1 means unreadable
and is always wrong.
"""

import zlib
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import spearmanr
from torch import Tensor

from core.errors import UserError

Reading = Mapping[str, Int[Tensor, "B"]]

NGRAM_BINS = 4096


def matches(read: Reading, truth: Reading, factors: Sequence[str]) -> Bool[Tensor, "B"]:
    """Whether every named factor of a sample was read as it is: the *strict* criterion."""
    return reduce(torch.logical_and, (read[factor] == truth[factor] for factor in factors))


def factor_accuracy(read: Reading, truth: Reading, factors: Sequence[str]) -> dict[str, float]:
    """Share of samples right in each factor on its own."""
    return {factor: mean(matches(read, truth, [factor])) for factor in factors}


def agreement(readings: Sequence[Reading]) -> Bool[Tensor, "B"]:
    """Whether all readings of a sample name the same label in every factor that two or more carry.

    A factor that one modality alone carries (motion beside an image) binds nobody. Unreadable
    never agrees.
    """
    factors = {factor for reading in readings for factor in reading}
    agree = [_same([r[factor] for r in readings if factor in r]) for factor in sorted(factors)]
    return reduce(torch.logical_and, agree)


def bootstrap_interval(
    values: Float[Tensor, "B"],
    clusters: Int[Tensor, "B"],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` when whole clusters are drawn with replacement.

    `clusters` names the instance each value belongs to: samples that share a handwriting or a voice
    are not independent, and drawing instances keeps them together.
    Source: Davison and Hinkley 1997, section 3.8 (strategy 1).
    """
    _, member = torch.unique(clusters, return_inverse=True)
    count = int(member.max()) + 1
    totals = torch.zeros(count, dtype=torch.float64).index_add_(0, member, values.double())
    sizes = torch.bincount(member, minlength=count).double()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (draws, count), generator=generator)
    means = totals[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = torch.quantile(means, torch.tensor([(1 - level) / 2, (1 + level) / 2]).double())
    return float(low), float(high)


def precision_recall(
    real: Float[Tensor, "R D"], generated: Float[Tensor, "G D"], *, k: int = 3
) -> tuple[float, float]:
    """Share of generated samples on the real manifold, and of real ones on the generated (recall).

    A manifold is the union of balls around its samples, each reaching to its k-th neighbour.
    Source: Kynkäänniemi et al. 2019, eqs. 1-3.
    """
    precision = mean(on_manifold(generated, real, k=k))
    return precision, mean(on_manifold(real, generated, k=k))


def on_manifold(
    points: Float[Tensor, "P D"], manifold: Float[Tensor, "M D"], *, k: int
) -> Bool[Tensor, "P"]:
    """Whether a point lies within the k-nearest-neighbour radius of any sample of the manifold."""
    if len(manifold) <= k:
        raise UserError(f"{len(manifold)} samples span no manifold with k={k}; give more than k")
    # The nearest "neighbour" of a sample among its own set is itself, hence k + 1.
    radius_M = _distances(manifold, manifold).kthvalue(k + 1, dim=1).values
    # Room for rounding: a copy of a sample sits at distance 0 of a ball that may have radius 0.
    return (_distances(points, manifold) <= radius_M + 1e-9).any(1)


def frechet_distance(first: Float[Tensor, "P D"], second: Float[Tensor, "Q D"]) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to two sets (Heusel et al. 2017)."""
    first, second = first.double(), second.double()
    root_DD = _square_root(torch.cov(first.T))
    cross = _square_root(root_DD @ torch.cov(second.T) @ root_DD)
    spread = torch.cov(first.T).trace() + torch.cov(second.T).trace() - 2 * cross.trace()
    return float((first.mean(0) - second.mean(0)).square().sum() + spread.clamp(min=0))


def kernel_distance(first: Float[Tensor, "P D"], second: Float[Tensor, "Q D"]) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x y / D + 1)^3: KID.

    Equal distributions give 0 in the mean at any number of samples, so a single value may be below
    zero; unlike the Fréchet distance it does not shrink as samples are added.
    Source: Bińkowski et al. 2018, section 4; Gretton et al. 2012, eq. 3.
    """
    first, second = first.double(), second.double()

    def kernel(a: Float[Tensor, "P D"], b: Float[Tensor, "Q D"]) -> Float[Tensor, "P Q"]:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(x: Float[Tensor, "P D"]) -> Float[Tensor, ""]:
        inner = kernel(x, x)
        return (inner.sum() - inner.trace()) / (len(x) * (len(x) - 1))

    return float(within(first) + within(second) - 2 * kernel(first, second).mean())


def nearest_distance(points: Float[Tensor, "P D"], others: Float[Tensor, "Q D"]) -> float:
    """Mean distance of the points to the nearest of the others."""
    return mean(_distances(points, others).amin(1))


def total_variation(first: Int[Tensor, "P"], second: Int[Tensor, "Q"], labels: int) -> float:
    """Half the L1 distance of two label distributions; unreadable (-1) counts as a label."""
    first_share, second_share = (
        torch.bincount(x + 1, minlength=labels + 1).double() / len(x) for x in (first, second)
    )
    return float((first_share - second_share).abs().sum() / 2)


def rank_correlation(first: Float[Tensor, "B"], second: Float[Tensor, "B"]) -> float:
    """Spearman's correlation over samples where both are numbers; 0 where either is constant."""
    valid = first.isfinite() & second.isfinite()
    first, second = first[valid], second[valid]
    if len(first) < 3 or first.min() == first.max() or second.min() == second.max():
        return 0.0
    result: Any = spearmanr(first.double().numpy(), second.double().numpy())
    return float(result.statistic)


def ngram_features(texts: Sequence[str], width: int = 64) -> Float[Tensor, "B D"]:
    """Counts of words and word pairs, hashed and sent through a fixed Gaussian projection.

    Distances of counts survive the projection (Johnson and Lindenstrauss 1984), so manifolds of
    captions can be compared as those of pictures are.
    """
    counts = torch.zeros(len(texts), NGRAM_BINS)
    for row, text in zip(counts, texts, strict=True):
        for gram in _ngrams(text):
            row[zlib.crc32(gram.encode()) % NGRAM_BINS] += 1
    generator = torch.Generator().manual_seed(0)
    return counts @ torch.randn(NGRAM_BINS, width, generator=generator) / width**0.5


def mean(values: Bool[Tensor, "B"] | Float[Tensor, "B"]) -> float:
    """The mean as a plain number."""
    return float(values.double().mean())


def _same(labels: Sequence[Int[Tensor, "B"]]) -> Bool[Tensor, "B"]:
    if len(labels) == 1:
        return torch.ones_like(labels[0], dtype=torch.bool)
    stacked = torch.stack(list(labels))
    return (stacked == stacked[0]).all(0) & (stacked[0] >= 0)


def _ngrams(text: str) -> list[str]:
    words = text.lower().split()
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def _distances(first: Float[Tensor, "P D"], second: Float[Tensor, "Q D"]) -> Float[Tensor, "P Q"]:
    exact = "donot_use_mm_for_euclid_dist"  # the matrix-product form rounds equal points apart
    return torch.cdist(first.double(), second.double(), compute_mode=exact)


def _square_root(matrix: Float[Tensor, "D D"]) -> Float[Tensor, "D D"]:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
