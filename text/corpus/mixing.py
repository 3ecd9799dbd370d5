"""How often each document is written, so that domains take the wanted parts of the bytes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def copies(
    domain: Int[np.ndarray, " documents"],
    sizes: Int[np.ndarray, " documents"],
    draws: Float[np.ndarray, " documents"],
    weights: Sequence[float],
    max_repeats: int,
) -> Int[np.ndarray, " documents"]:
    """Return how many times each document is written.

    The domain that is scarce for its weight is taken whole, as often as may be. Of the others whole
    rounds are taken, and then the documents with the smallest draws.

    Args:
        domain: Number of each document's domain.
        sizes: Bytes.
        draws: A number in [0, 1) for each document, by its content: who is taken first.
        weights: Of each domain.
        max_repeats: Most times that a document is written.
    """
    there = np.bincount(domain, sizes, len(weights))
    wanted = np.array(weights) / sum(weights)
    scale = (max_repeats * there / wanted).min()
    counts = np.zeros(len(domain), np.int64)
    for number, goal in enumerate(np.rint(wanted * scale)):
        members = np.flatnonzero(domain == number)
        whole, rest = divmod(goal, max(there[number], 1))
        counts[members] = int(whole)
        order = members[np.argsort(draws[members], kind="stable")]
        counts[order[np.cumsum(sizes[order]) <= rest]] += 1
    return counts
