"""Texts from shards."""

from typing import ClassVar

from core.data import ShardData
from core.samples import Fields


class TextData(ShardData):
    """Batches with `text`: B strings."""

    members: ClassVar = {"text": "txt"}
    embedding: ClassVar = "text.npy"

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a text."""
        return {"text": members["txt"].decode("utf-8")}
