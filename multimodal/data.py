"""Paired samples of all modalities from shards, and their embeddings."""

from typing import Any, ClassVar

import torch

from core.data import ShardData
from core.members import decode_clip, decode_flac, decode_npy, decode_png, fit_length
from core.samples import Fields


class PairedData(ShardData):
    """Batches of signals that belong together, each as its modality's own data module gives it.

    `text` and `query_text` are strings, `image`, `video`, `audio` and `query_audio` tensors. A
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
    }
    partial: ClassVar = True

    def __init__(self, root: str, rate: int = 8000, seconds: float = 1.3, **kwargs: Any):
        """Take shards at `root`.

        Args:
            root: Folder that holds a folder of shards for each split.
            rate: Hz that the shards must have.
            seconds: Length of every sound.
            **kwargs: As for `ShardData`.
        """
        super().__init__(root, **kwargs)
        self.rate, self.length = rate, round(rate * seconds)

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
                return fit_length(decode_flac(data, self.rate), self.length)
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

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode the embeddings that a sample has."""
        return {
            field: decode_npy(members[member]).float()
            for field, member in self.members.items()
            if member in members
        }
