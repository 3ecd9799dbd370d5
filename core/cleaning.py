"""Keep or drop: predicates, exact duplicates, and a count for each reason."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from core.digests import Digests

Sample = TypeVar("Sample")


def keep(
    samples: Iterable[Sample],
    rules: Mapping[str, Callable[[Sample], bool]],
    dropped: Counter[str],
) -> Iterator[Sample]:
    """Yield the samples that pass every rule; count the others under the first rule they fail.

    Args:
        rules: Reason to drop -> predicate that is true for a sample to keep.
        dropped: Counts by reason, filled while the samples are drawn.
    """
    for sample in samples:
        failed = next((reason for reason, passes in rules.items() if not passes(sample)), None)
        if failed is None:
            yield sample
        else:
            dropped[failed] += 1


def distinct(
    samples: Iterable[Sample], content: Callable[[Sample], bytes], dropped: Counter[str]
) -> Iterator[Sample]:
    """Yield the first sample of each content; count the others as duplicates."""
    seen = Digests()
    for sample in samples:
        if seen.add(hashlib.sha256(content(sample)).digest()):
            yield sample
        else:
            dropped["duplicate"] += 1


def readable(
    sources: Iterable[Sample],
    read: Callable[[Sample], dict[str, bytes]],
    dropped: Counter[str],
    reason: str = "undecodable",
) -> Iterator[dict[str, bytes]]:
    """Yield what `read` makes of each source; count those that it rejects with a ValueError."""
    for source in sources:
        try:
            sample = read(source)
        except ValueError:
            dropped[reason] += 1
        else:
            yield sample
