"""What can be measured: anything that embeds, completes and decodes as `Unison` does."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from multimodal.tuples import Signals, take

BATCH = 125
"""Sources a pass."""


@runtime_checkable
class Towers(Protocol):
    """The shared space alone."""

    def embed(self, signals: Signals) -> dict[str, Float[Tensor, "B E"]]:
        """Embed batches of signals."""
        ...


@runtime_checkable
class System(Towers, Protocol):
    """What is measured: towers, a prior, generators."""

    def complete(
        self, observed: Mapping[str, Float[Tensor, "B E"]], *, seeds: Sequence[int]
    ) -> dict[str, Float[Tensor, "B E"]]:
        """Sample the embeddings of all modalities together, given those observed."""
        ...

    def decode(
        self, modality: str, embeddings: Float[Tensor, "B E"], *, seeds: Sequence[int]
    ) -> Any:
        """Generate one signal for each embedding."""
        ...


def embed_all(system: Towers, signals: Signals) -> dict[str, Float[Tensor, "N E"]]:
    """Return the embeddings of signals, a batch at a time."""
    count = len(next(iter(signals.values())))
    batches = (range(start, min(start + BATCH, count)) for start in range(0, count, BATCH))
    parts = [system.embed(take(signals, rows)) for rows in batches]
    return {m: torch.cat([part[m].cpu() for part in parts]) for m in signals}
