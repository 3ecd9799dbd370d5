"""The one table of modalities: which encoder and which generator serve each.

The only place where `multimodal` touches the modality packages' models; a fifth modality is a line
in each of the two structures below.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from torch import nn

from audio import AudioEncoder, AudioEncoderConfig, AudioModule, link_spectra
from core.errors import UserError
from core.module import TrainedModule
from core.shards import ShardReader
from core.signal_sizes import clip_size, picture_side, sound_asked_for, sound_size
from image import ImageEncoder, ImageEncoderConfig, ImageModule
from text import TextEncoder, TextEncoderConfig, TextModule
from video import VideoEncoder, VideoEncoderConfig, VideoModule

ModalityName = Literal["text", "image", "audio", "video"]
MODALITIES: tuple[str, ...] = get_args(ModalityName)

QUERIES: dict[str, str] = {"text": "query_text", "audio": "query_audio"}
"""Modalities whose observed signals may say less than generated ones do, and their batch field."""

DRAWN: dict[str, str] = {"image": "drawn_image"}
"""Modalities that people also give in a form that is never generated (a drawing), and its batch
field: their towers learn from both."""

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


def link_tokens(tokens: Any, reader: ShardReader, members: Mapping[str, str]) -> None:
    """Set a configuration of tokens to the embeddings that a dataset holds.

    A prior needs the plan in most of its samples: without a modality that has it, all tokens are
    sampled at once.

    Args:
        tokens: Parsed options of a `TokensConfig`; what differs from the defaults stays.
        reader: The embeddings.
        members: Field -> the member that holds its embeddings.
    """
    default = TokensConfig()
    if tuple(tokens.modalities) != default.modalities:
        return
    counts = {field: int(reader.has(member).sum()) for field, member in members.items()}
    held = paired(reader, members)
    tokens.modalities = tuple(held)
    if dict(tokens.queries) == default.queries:
        tokens.queries = {m: q for m, q in default.queries.items() if m in held and counts[q]}
    plan = default.plan
    assert plan is not None
    if tokens.plan == plan and (plan not in held or 2 * counts[plan] < len(reader)):
        tokens.plan = None


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


def link_towers(towers: Any, reader: ShardReader, members: Mapping[str, str], data: Any) -> None:
    """Set a configuration of towers to the modalities of a dataset, and to their signals' sizes.

    Args:
        towers: Parsed options of a `TowersConfig`.
        reader: The dataset.
        members: Modality -> the member that holds its signals.
        data: Parsed options of the data, whose `rate` and `seconds` are set too.
    """
    held = paired(reader, members)
    if dict(towers.kinds) == TowersConfig().kinds:
        towers.kinds = {m: m for m in held}
    side = picture_side(reader, members["image"])
    if side is not None:
        towers.image.size = side
    clip = clip_size(reader, members["video"])
    if clip is not None:
        towers.video.frames, towers.video.size = clip
    found = sound_size(reader, members["audio"])
    if found is not None:
        sound = sound_asked_for(found, data.rate, data.seconds)
        data.rate, data.seconds = sound.rate, sound.length / sound.rate
        towers.audio.samples = sound.length
        link_spectra(towers.audio.mel, sound.rate, f"the sounds in {reader.folder} have")


def paired(reader: ShardReader, members: Mapping[str, str]) -> list[str]:
    """Return the modalities that two samples or more have beside another modality.

    Raises:
        UserError: if there are no two such modalities.
    """
    has = {m: reader.has(members[m]) for m in MODALITIES}
    held = [
        m
        for m in MODALITIES
        if any((has[m] & has[other]).sum() > 1 for other in MODALITIES if other != m)
    ]
    if held:
        return held
    counts = ", ".join(f"{m} in {count}" for m, h in has.items() if (count := h.sum()))
    raise UserError(
        f"{reader.folder} has no two modalities that two samples share ({counts or 'no signals'} "
        f"of {len(reader)}); pair files by name: python -m multimodal.shards folder"
    )


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
