"""The five views as batches for training, and whole in memory for measuring."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from core.data import ShardData
from core.errors import UserError
from core.members import decode_npy, decode_png, to_float
from core.samples import Fields
from core.shards import ShardReader
from papers.polymnist_2023.views import VIEWS

Pictures = Mapping[str, Float[Tensor, "B 3 H W"]]
"""View -> pictures in [-1, 1]."""


class ViewsData(ShardData):
    """Batches of the five pictures of each sample."""

    members: ClassVar = {view: f"{view}.png" for view in VIEWS}
    partial: ClassVar = True

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode the views that a sample has."""
        return {v: decode_png(members[m]) for v, m in self.members.items() if m in members}


class ViewEmbeddings(ShardData):
    """Batches of the five embeddings of each sample."""

    members: ClassVar = {view: f"{view}.npy" for view in VIEWS}
    partial: ClassVar = True

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode the embeddings that a sample has."""
        return {v: decode_npy(members[m]).float() for v, m in self.members.items() if m in members}


@dataclass(frozen=True)
class Views:
    """Samples of one split."""

    pictures: Pictures
    """The five pictures of each sample."""
    digit: Int[Tensor, "B"]
    """What all of them show."""
    instances: Int[Tensor, "B V"]
    """The handwriting of each picture."""

    def __len__(self) -> int:
        return len(self.digit)


def load_views(folder: Path, count: int | None = None) -> Views:
    """Read the first `count` samples (all without it) of a split's folder."""
    reader = ShardReader(folder)
    members = [f"{view}.png" for view in VIEWS]
    if count is not None and count > len(reader):
        raise UserError(
            f"{folder} has {len(reader)} samples but {count} are asked for; build more with: "
            "python -m papers.polymnist_2023.shards"
        )
    rows = range(len(reader) if count is None else count)
    samples = [reader.read(row, [*members, "json"]) for row in rows]
    facts = [json.loads(sample["json"]) for sample in samples]
    stacked = {
        view: to_float(torch.stack([decode_png(sample[f"{view}.png"]) for sample in samples]))
        for view in VIEWS
    }
    digits, instances = ([fact[name] for fact in facts] for name in ("digit", "instances"))
    return Views(stacked, torch.tensor(digits), torch.tensor(instances))


def condition(view: str, embedding: Float[Tensor, "B E"]) -> Float[Tensor, "B EV"]:
    """Return what the generator is told: which view to draw, and that view's own embedding.

    Embeddings of different views of a digit lie close together, so the view needs saying.
    """
    marker = F.one_hot(torch.tensor(VIEWS.index(view)), len(VIEWS)).expand(len(embedding), -1)
    return F.normalize(torch.cat([embedding, marker.to(embedding)], dim=1), dim=-1)


def take(pictures: Pictures, rows: Sequence[int] | slice) -> dict[str, Tensor]:
    """Return the same rows of every view."""
    return {view: batch[rows] for view, batch in pictures.items()}
