"""What a decoder has read of a batch of texts, and where each text stands in it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from text.attention import KVCache, Rotation


@dataclass
class Memory:
    """A cache a block, of static size, in which all rows fill the same slots.

    Texts of different lengths are filled up on the left: the slots between a row's prefix and its
    text are its padding, which nothing looks at and no position counts.
    """

    caches: list[KVCache]
    rotation: Rotation | None
    """Of every position, the prefix's first; None for learned positions."""
    prefix: int
    """Slots of the prefix."""
    last: int
    """The last place that a model knows: texts of full contexts stand there beside longer ones."""
    padding: Int[Tensor, "B"] | None = None
    """Empty slots of each row; None where no row has any."""
    visible: Bool[Tensor, "B L"] | None = None
    """Slots that are no padding."""

    @property
    def length(self) -> int:
        """Slots that are filled."""
        return self.caches[0].length

    def pad(self, padding: Int[Tensor, "B"]) -> None:
        """Say how much of what is read next is padding, on the left of each row."""
        assert self.length == self.prefix, "padding stands before the text"
        if not padding.any():
            return
        slots = torch.arange(self.caches[0].keys.shape[2], device=padding.device) - self.prefix
        self.padding = padding
        self.visible = (slots < 0) | (slots >= padding[:, None])

    def truncate(self, length: int) -> None:
        """Forget all slots from this one on."""
        assert self.prefix <= length <= self.length
        for cache in self.caches:
            cache.length = length

    def places(self, tokens: int, device: torch.device) -> Int[Tensor, "*#B T"]:
        """Return the numbers, from the prefix on, of tokens that are read next."""
        slots = torch.arange(self.length, self.length + tokens, device=device)
        if self.padding is None:
            return slots
        return (slots - self.padding[:, None]).clamp_(0, self.last)

    def turn(self, tokens: int) -> Rotation:
        """Return the rotation of tokens that are read next."""
        assert self.rotation is not None
        cos, sin = self.rotation.cos, self.rotation.sin
        if self.padding is None:
            here = slice(self.length, self.length + tokens)
            return Rotation(cos[here], sin[here])
        places = self.places(tokens, cos.device)[:, None]
        return Rotation(cos[places], sin[places])

    def mask(self, tokens: int) -> Bool[Tensor, "B 1 T L"] | None:
        """Return which slots the tokens that are read next look at; None for all before them."""
        if self.visible is None:
            return None
        end = self.length + tokens
        seen = self.visible[:, None, None, :end]
        if tokens == 1:
            return seen
        square = torch.ones(tokens, end, dtype=torch.bool, device=seen.device)
        # Padding looks at itself: a mean of nothing would be no number.
        itself = square.tril(self.length).triu(self.length)
        return (seen & square.tril(self.length)) | itself
