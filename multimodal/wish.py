"""What may be asked of a run: signals in, modalities out."""

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import UserError
from multimodal.media import MEDIA, check_modalities

LIMITS = {"count": (1, 10_000), "seed": (0, 2**62), "guidance": (0, 100), "steps": (1, 10_000)}


@dataclass(frozen=True)
class Wish:
    """What is given, and what is made of it."""

    given: Mapping[str, Any]
    """Modality -> one signal, or the path or caption to read it from; none are left open."""
    to: Sequence[str]
    """Modalities to generate."""
    count: int = 1
    """Samples."""
    seed: int = 0
    """The first sample's; the next has one more."""
    guidance: float | None = None
    """Weight of the condition in the generators; None is each one's default."""
    steps: int | None = None
    """Solver steps of image, audio and video; None is their default."""
    first_frame: bool = False
    """Start the video from the input image, or else from the generated one."""

    def __post_init__(self):
        check_modalities(list(self.to))
        self._check_first_frame()
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(
                    f"{name} is {value} but must be from {low} to {high}; change --{name}"
                )

    @property
    def seeds(self) -> range:
        """One a sample."""
        return range(self.seed, self.seed + self.count)

    def _check_first_frame(self) -> None:
        if self.first_frame and "video" not in self.to:
            raise UserError("first_frame needs a video that starts from it; add video to --to")
        if self.first_frame and "image" not in self.given and "image" not in self.to:
            raise UserError("first_frame needs an image; give --image or add image to --to")


def modality_names(to: str | Iterable[str]) -> list[str]:
    """Return names as a list: of a list, of a set, or of one string with commas or blanks."""
    if isinstance(to, set | frozenset):
        to = sorted(to, key=lambda name: [*MEDIA, name].index(name))
    words = [to] if isinstance(to, str) else list(to)
    return [name for word in words for name in re.split(r"[,\s]+", str(word)) if name]


def whole(name: str, value: Any) -> int:
    """Return a whole number of any library (NumPy's, a tensor of one) as Python's own."""
    try:
        number = float(value)
        return operator.index(value) if not number.is_integer() else int(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name} is {value!r} but must be a whole number") from None


def real(name: str, value: Any) -> float:
    """Return a number of any library as Python's own."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{name} is {value!r} but must be a number") from None
