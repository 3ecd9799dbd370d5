"""Run a system in all directions, and read what it made."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from multimodal.readers import Reader
from multimodal.systems import BATCH, System
from multimodal.tuples import MODALITIES, Signals, pick

ALONE = 5  # sources that are generated from one at a time, for latency


@dataclass(frozen=True)
class Made:
    """Signals of all modalities that were sampled together, the i-th of each from one source."""

    signals: Signals
    """One batch a modality."""
    seconds: Mapping[str, float]
    """Time a sample, in batches, from source to target, the target alone being generated."""


@dataclass(frozen=True)
class Readout:
    """What a reader says of a batch of signals."""

    labels: Mapping[str, Int[Tensor, "B"]]
    """Factor to index, -1 where unreadable."""
    size: Float[Tensor, "B"]
    """In the modality's own unit; NaN where unreadable."""
    features: Float[Tensor, "B D"]
    """For manifolds and distances."""


def make(
    system: System, observed: Signals, seeds: Sequence[int], targets: Sequence[str] = MODALITIES
) -> Made:
    """Generate `targets` from observed signals; from none, jointly.

    One pass of towers and prior serves all targets, so what is generated from one source agrees.
    """
    parts = [
        _make_batch(system, observed, range(start, min(start + BATCH, len(seeds))), seeds, targets)
        for start in range(0, len(seeds), BATCH)
    ]
    return Made(
        signals={t: _join([signals[t] for signals, _ in parts]) for t in targets},
        seconds={t: sum(seconds[t] for _, seconds in parts) / len(seeds) for t in targets},
    )


def latencies(system: System, sources: Signals) -> dict[str, dict[str, float]]:
    """Return source -> target -> seconds for one sample on its own: the median of a few.

    The first of them, in which models may still be loaded, is not counted.
    """
    found: dict[str, dict[str, float]] = {}
    for source, batch in sources.items():
        made = [make(system, {source: pick(batch, range(i, i + 1))}, [i]) for i in range(ALONE + 1)]
        found[source] = {t: median(x.seconds[t] for x in made[1:]) for t in MODALITIES}
    return found


def read(readers: Mapping[str, Reader], signals: Signals) -> dict[str, Readout]:
    """Read every modality's batch."""
    return {
        modality: Readout(
            labels=readers[modality].predict(batch),
            size=readers[modality].size(batch),
            features=readers[modality].features(batch),
        )
        for modality, batch in signals.items()
    }


def _make_batch(
    system: System, observed: Signals, rows: range, seeds: Sequence[int], targets: Sequence[str]
) -> tuple[dict[str, Any], dict[str, float]]:
    start = time.perf_counter()
    batch_seeds = [seeds[row] for row in rows]
    embedded = system.embed({m: pick(batch, rows) for m, batch in observed.items()})
    completed = system.complete(embedded, seeds=batch_seeds)
    shared = time.perf_counter() - start
    signals, seconds = {}, {}
    for target in targets:
        start = time.perf_counter()
        signals[target] = system.decode(target, completed[target], seeds=batch_seeds)
        seconds[target] = shared + time.perf_counter() - start
    return signals, seconds


def _join(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat([part.float().cpu() for part in parts])
    return [text for part in parts for text in part]
