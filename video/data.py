"""Clips from shards."""

from typing import Any, ClassVar

from core.data import ShardData
from core.members import decode_clip
from core.samples import Fields
from core.signal_sizes import clip_size, open_training, set_from_data
from video.model import VideoConfig


class VideoData(ShardData):
    """Batches with `video`: Float[B F 3 H W] in [-1, 1]."""

    members: ClassVar = {"video": "video.npy"}
    embedding: ClassVar = "video.npy"

    @classmethod
    def link(cls, config: Any) -> None:
        """Set the model's frames and their side to those of the data."""
        super().link(config)
        reader = open_training(config)
        clip = clip_size(reader)
        if clip is not None:
            model, told = config.model.model, f"the clips in {reader.folder} have"
            set_from_data(model, VideoConfig(), told, frames=clip.frames)
            set_from_data(model, VideoConfig(), f"{told} a side of", size=clip.side)

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a clip."""
        return {"video": decode_clip(members["video.npy"])}
