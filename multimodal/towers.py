"""The one table of modalities: which encoder and which generator serve each.

The only place where `multimodal` touches the modality packages' models; a fifth modality is a line
in each of the two structures below.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import nn

from audio import AudioEncoder, AudioEncoderConfig, AudioModule
from core.errors import UserError
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


@dataclass(frozen=True)
class TokensConfig:
    """Which embeddings a prior models, and which of them it samples first."""

    modalities: tuple[str, ...] = MODALITIES
    """Names of what is observed and generated."""
    queries: dict[str, str] = field(default_factory=lambda: dict(QUERIES))
    """Those whose observed signals may say less than generated ones do, and their own token."""
    plan: str | None = "text"
    """The modality whose embedding holds all that the others must agree on; None: all at once."""
    rest: Literal["gaussian", "flow"] = "gaussian"
    """How the others are drawn given the plan: from the embeddings' joint Gaussian, or by the flow,
    where they are no linear function of it."""

    def __post_init__(self):
        unknown = {*self.queries, *([self.plan] if self.plan else [])} - set(self.modalities)
        if unknown:
            raise UserError(
                f"{min(unknown)} is named as a query or the plan but is no modality; "
                f"choose from {', '.join(self.modalities)}"
            )

    @property
    def slots(self) -> tuple[str, ...]:
        """All tokens: one a modality, then one a partial query."""
        return (*self.modalities, *self.queries.values())

    @property
    def sources(self) -> dict[str, str]:
        """Modality -> the token that holds it when it is observed."""
        return {m: self.queries.get(m, m) for m in self.modalities}


GENERATORS: dict[str, type[TrainedModule]] = {
    "text": TextModule,
    "image": ImageModule,
    "audio": AudioModule,
    "video": VideoModule,
}


@dataclass(frozen=True)
class TowersConfig:
    """Which towers there are, and their sizes."""

    embedding: int = 64
    """Width of the shared space."""
    kinds: dict[str, ModalityName] = field(
        default_factory=lambda: {m: m for m in get_args(ModalityName)}
    )
    """Name of each tower, as the batch names its signals -> the encoder that it is."""
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
            raise UserError(f"embedding is {self.embedding} but a sphere needs at least 2")


ENCODERS: dict[str, type[nn.Module]] = {
    "text": TextEncoder,
    "image": ImageEncoder,
    "audio": AudioEncoder,
    "video": VideoEncoder,
}


def build_towers(config: TowersConfig) -> nn.ModuleDict:
    """Return one encoder a name, all of them into the same space."""
    towers = nn.ModuleDict()
    for name, kind in config.kinds.items():
        own = dataclasses.replace(getattr(config, kind), embedding=config.embedding)
        towers[name] = ENCODERS[kind](own)
    return towers
