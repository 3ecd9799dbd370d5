"""Clips from shards."""

from typing import ClassVar

from core.data import ShardData
from core.members import decode_clip
from core.samples import Fields


class VideoData(ShardData):
    """Batches with `video`: Float[B F 3 H W] in [-1, 1]."""

    members: ClassVar = {"video": "video.npy"}
    embedding: ClassVar = "video.npy"

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a clip."""
        return {"video": decode_clip(members["video.npy"])}
