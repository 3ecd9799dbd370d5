"""Sounds from shards."""

from typing import Any, ClassVar

from core.data import ShardData
from core.members import decode_flac, fit_length
from core.samples import Fields


class AudioData(ShardData):
    """Batches with `audio`: Float[B S] in [-1, 1], padded with silence or cut to one length."""

    members: ClassVar = {"audio": "flac"}
    embedding: ClassVar = "audio.npy"

    def __init__(self, root: str, rate: int = 8000, seconds: float = 1.3, **kwargs: Any):
        """Take shards at `root`.

        Args:
            root: Folder that holds a folder of shards for each split.
            rate: Hz that the shards must have.
            seconds: Length of every sound.
            **kwargs: As for `ShardData`.
        """
        super().__init__(root, **kwargs)
        self.rate, self.length = rate, round(rate * seconds)

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a sound."""
        return {"audio": fit_length(decode_flac(members["flac"], self.rate), self.length)}
