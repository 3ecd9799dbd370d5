"""Pictures from shards."""

from typing import ClassVar

from core.data import ShardData
from core.members import decode_png
from core.samples import Fields


class ImageData(ShardData):
    """Batches with `image`: Float[B 3 H W] in [-1, 1]."""

    members: ClassVar = {"image": "png"}
    embedding: ClassVar = "image.npy"

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a picture."""
        return {"image": decode_png(members["png"])}
