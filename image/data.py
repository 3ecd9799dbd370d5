"""Pictures from shards."""

from typing import Any, ClassVar

from core.data import ShardData
from core.members import decode_png
from core.samples import Fields
from core.signal_sizes import open_training, picture_side, set_from_data
from image.model import ImageConfig


class ImageData(ShardData):
    """Batches with `image`: Float[B 3 H W] in [-1, 1]."""

    members: ClassVar = {"image": "png"}
    embedding: ClassVar = "image.npy"

    @classmethod
    def link(cls, config: Any) -> None:
        """Set the model's side of a picture to that of the data."""
        super().link(config)
        reader = open_training(config)
        side = picture_side(reader)
        if side is not None:
            told = f"the pictures in {reader.folder} have a side of"
            set_from_data(config.model.model, ImageConfig(), told, size=side)

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a picture."""
        return {"image": decode_png(members["png"])}
