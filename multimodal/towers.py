"""The one table of modalities: which encoder and which generator serve each.

The only place where `multimodal` touches the modality packages' models; a fifth modality is a line
in each of the two structures below.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import nn

from audio import AudioEncoder, AudioEncoderConfig, AudioModule
from core.module import TrainedModule
from image import ImageEncoder, ImageEncoderConfig, ImageModule
from text import TextEncoder, TextEncoderConfig, TextModule
from video import VideoEncoder, VideoEncoderConfig, VideoModule

ModalityName = Literal["text", "image", "audio", "video"]
MODALITIES: tuple[str, ...] = get_args(ModalityName)

QUERIES: dict[str, str] = {"text": "query_text", "audio": "query_audio"}
"""Modalities whose observed signals may say less than generated ones do, and their batch field."""

SLOTS: tuple[str, ...] = (*MODALITIES, *QUERIES.values())
"""Tokens of the prior: one a modality, and one a partial query."""

GENERATORS: dict[str, type[TrainedModule]] = {
    "text": TextModule,
    "image": ImageModule,
    "audio": AudioModule,
    "video": VideoModule,
}


@dataclass(frozen=True)
class TowersConfig:
    """Sizes of the four towers."""

    embedding: int = 64
    """Width of the shared space."""
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    """The tower for text."""
    image: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    """The tower for images."""
    audio: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)
    """The tower for sounds."""
    video: VideoEncoderConfig = field(default_factory=VideoEncoderConfig)
    """The tower for clips."""

    def __post_init__(self):
        if self.embedding < 2:
            raise ValueError(f"embedding is {self.embedding} but a sphere needs at least 2")


ENCODERS: dict[str, type[nn.Module]] = {
    "text": TextEncoder,
    "image": ImageEncoder,
    "audio": AudioEncoder,
    "video": VideoEncoder,
}


def build_towers(config: TowersConfig) -> nn.ModuleDict:
    """Return one encoder a modality, all of them into the same space."""
    towers = nn.ModuleDict()
    for name in MODALITIES:
        own = dataclasses.replace(getattr(config, name), embedding=config.embedding)
        towers[name] = ENCODERS[name](own)
    return towers
