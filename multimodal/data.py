"""Paired samples of all modalities from shards, and their embeddings."""

from functools import cached_property
from typing import Any, ClassVar

import torch

from core.data import ShardData
from core.members import decode_clip, decode_flac, decode_npy, decode_png, fit_length
from core.samples import Fields
from core.signal_sizes import Sound, open_training, sound_of
from multimodal.towers import link_tokens, link_towers


class PairedData(ShardData):
    """Batches of signals that belong together, each as its modality's own data module gives it.

    `text` and `query_text` are strings, all else tensors. A
    sample may lack any of them: its row is then zero (or an empty string) and `present` says so. A
    field that no sample of the dataset has is missing from the batch.
    """

    members: ClassVar = {
        "text": "txt",
        "image": "png",
        "audio": "flac",
        "video": "video.npy",
        "query_text": "query.txt",
        "query_audio": "query.flac",
        "drawn_image": "drawn.png",
    }
    partial: ClassVar = True

    def __init__(
        self, root: str, rate: int | None = None, seconds: float | None = None, **kwargs: Any
    ):
        """Take shards at `root`.

        Args:
            root: Folder that holds a folder of shards for each split.
            rate: Hz that the shards must have; None takes theirs.
            seconds: Length of every sound; None takes that of the shards.
            **kwargs: As for `ShardData`.
        """
        super().__init__(root, **kwargs)
        self.asked = (rate, seconds)

    @classmethod
    def link(cls, config: Any) -> None:
        """Set which towers there are, and the sizes of their signals."""
        super().link(config)
        link_towers(config.model.towers, open_training(config), cls.members, config.data)

    @cached_property
    def sound(self) -> Sound:
        """Rate and length of every sound."""
        return sound_of(self.root, self.splits["train"], self.remote, *self.asked)

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode the members that a sample has."""
        return {
            field: self._decode_member(member, members[member])
            for field, member in self.members.items()
            if member in members
        }

    def _decode_member(self, member: str, data: bytes) -> torch.Tensor | str:
        match member.split("."):
            case [*_, "txt"]:
                return data.decode("utf-8")
            case [*_, "flac"]:
                return fit_length(decode_flac(data, self.sound.rate), self.sound.length)
            case [*_, "png"]:
                return decode_png(data)
            case _:
                return decode_clip(data)


class EmbeddedData(ShardData):
    """Batches of embeddings, Float[B E] a field, from embedding shards taken as a dataset.

    A sample may lack any of them, as in `PairedData`.
    """

    members: ClassVar = {
        "text": "text.npy",
        "image": "image.npy",
        "audio": "audio.npy",
        "video": "video.npy",
        "query_text": "query.text.npy",
        "query_audio": "query.audio.npy",
    }
    partial: ClassVar = True

    @classmethod
    def link(cls, config: Any) -> None:
        """Set the width of the embeddings, and which of them the prior models."""
        super().link(config)
        link_tokens(config.model.tokens, open_training(config), cls.members)

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode the embeddings that a sample has."""
        return {
            field: decode_npy(members[member]).float()
            for field, member in self.members.items()
            if member in members
        }
