"""Clips: the image network on each frame, attention across frames, a tower."""

from video.codec import ClipCodec
from video.data import VideoData
from video.encoder import VideoEncoder, VideoEncoderConfig
from video.model import VideoConfig
from video.module import VideoModule

__all__ = [
    "ClipCodec",
    "VideoConfig",
    "VideoData",
    "VideoEncoder",
    "VideoEncoderConfig",
    "VideoModule",
]
