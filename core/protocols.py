"""What a modality promises: a codec, a tower, a generator; and what every sampler expects."""

from collections.abc import Sequence
from typing import Any, Protocol

from jaxtyping import Float, Int
from torch import Tensor


class Codec(Protocol):
    """A signal as a sequence of token vectors, and back; round-trip error is a test."""

    positions: Int[Tensor, "T A"]
    """Integer coordinates of each token: (t), (y, x) or (t, y, x)."""

    def encode(self, signal: Tensor) -> Float[Tensor, "B T C"]:
        """Return standardised tokens of a batch of signals."""
        ...

    def decode(self, tokens: Float[Tensor, "B T C"]) -> Tensor:
        """Return the signals of a batch of tokens."""
        ...


class Encoder(Protocol):
    """A tower: signals to points on the shared unit sphere."""

    def __call__(self, signal: Any) -> Float[Tensor, "B E"]:
        """Return unit-norm embeddings."""
        ...


class Generator(Protocol):
    """Signals from embeddings of their own modality."""

    def generate(
        self, cond: Float[Tensor, "B E"] | None, options: Any, *, seeds: Sequence[int]
    ) -> Any:
        """Return one signal a seed; `cond=None` is unconditional."""
        ...


class Denoiser(Protocol):
    """The velocity of a flow at time t, where t = 1 is data."""

    def __call__(
        self,
        x: Float[Tensor, "B T C"],
        time: Float[Tensor, "B"],
        cond: Float[Tensor, "B E"] | None,
    ) -> Float[Tensor, "B T C"]:
        """Return dx/dt."""
        ...
