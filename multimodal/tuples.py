"""Paired samples of the world, whole in memory, beside what is true of them: for measuring only."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.errors import UserError
from core.manifest import Manifest
from core.members import to_float
from core.shards import ShardReader
from multimodal.data import PairedData
from multimodal.factors import COLOURS, MOTIONS

MODALITIES = ("text", "image", "audio", "video")

CARRIED = {
    "text": ("digit", "colour", "motion"),
    "image": ("digit", "colour"),
    "audio": ("digit", "colour"),
    "video": ("digit", "colour", "motion"),
}
"""Labels that a complete signal of each modality tells in the embedded world; all tell the size
besides. Another world's manifests may say less (`Tuples.carried`)."""

Signals = Mapping[str, Any]
"""Modality to a batch of its signals: list[str] for text, a tensor in [-1, 1] for the others."""


@dataclass(frozen=True)
class Tuples:
    """Samples in the order asked for."""

    signals: Signals
    """The four signals of each sample."""
    truth: Mapping[str, Int[Tensor, "B"]]
    """Index of digit, colour and motion."""
    size: Float[Tensor, "B"]
    """From 0 (tiny) to 1 (huge)."""
    held_out: Bool[Tensor, "B"]
    """Whether training never saw the combination."""
    instances: Mapping[str, Int[Tensor, "B"]]
    """Handwriting of picture and clip, voice, and wording: what samples may share."""
    carried: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: CARRIED)
    """Labels that each modality's signals tell."""
    sized: frozenset[str] = frozenset(MODALITIES)
    """Modalities whose signals tell the size."""

    def __len__(self) -> int:
        return len(self.size)


def load_tuples(folder: Path, positions: Sequence[int] | None = None) -> Tuples:
    """Read the samples at `positions` (all without it) of one split's folder."""
    reader = ShardReader(folder)
    decode = PairedData(str(folder.parent), train=folder.name).decode
    members = [PairedData.members[modality] for modality in MODALITIES]
    check_world(reader)
    for member in members:
        if member not in reader.manifest.members:
            raise UserError(f"{folder} has no {member} members; build the world with all of them")
    rows = range(len(reader)) if positions is None else positions
    if max(rows, default=-1) >= len(reader):
        raise UserError(f"{folder} has {len(reader)} samples but {max(rows) + 1} are asked for")
    samples = [reader.read(int(row), [*members, "json"]) for row in rows]
    facts = [json.loads(sample["json"]) for sample in samples]
    fields = [decode({k: v for k, v in s.items() if k in members}) for s in samples]
    return Tuples(
        signals={modality: _stack([row[modality] for row in fields]) for modality in MODALITIES},
        truth=_truth(facts),
        size=torch.tensor([fact["size"] for fact in facts]),
        held_out=torch.tensor([fact["held_out"] for fact in facts]),
        instances={
            "text": torch.tensor([zlib.crc32(str(row["text"]).encode()) for row in fields]),
            "image": torch.tensor([fact["image_instance"] for fact in facts]),
            "audio": torch.tensor([zlib.crc32(fact["voice"].encode()) for fact in facts]),
            "video": torch.tensor([fact["video_instance"] for fact in facts]),
        },
        **told(reader.manifest),
    )


def check_world(reader: ShardReader) -> None:
    """Raise unless a dataset's samples name their factors, as those of the world do."""
    if not reader.has("json").all() or not len(reader):
        raise UserError(
            f"{reader.folder} holds no factors (digit, colour, motion), which only the world's "
            "samples have; own pairs are looked at with: python -m multimodal.generate"
        )


def check_world_folder(world: Path) -> None:
    """Raise if a folder of splits holds own pairs rather than a world, whose samples say more."""
    if (world / "train").is_dir():
        check_world(ShardReader(world / "train"))


def told(manifest: Manifest) -> dict[str, Any]:
    """Return what a world's signals carry, as its data card says; without one, everything."""
    card = manifest.card.get("carries")
    if card is None:
        return {}
    said = {m: card[PairedData.members[m]] for m in MODALITIES}
    return {
        "carried": {m: tuple(f for f in CARRIED[m] if f in said[m]) for m in MODALITIES},
        "sized": frozenset(m for m in MODALITIES if any("size" in name for name in said[m])),
    }


def positions(folder: Path, *, held_out: bool) -> list[int]:
    """Positions of a split's samples whose combination of factors training has seen, or has not."""
    reader = ShardReader(folder)
    check_world(reader)
    facts = (json.loads(reader.read(row, ["json"])["json"]) for row in range(len(reader)))
    return [row for row, fact in enumerate(facts) if fact["held_out"] == held_out]


def take(signals: Signals, rows: Sequence[int]) -> dict[str, Any]:
    """The same rows of every modality."""
    return {modality: pick(batch, rows) for modality, batch in signals.items()}


def pick(batch: Any, rows: Sequence[int]) -> Any:
    """Rows of one modality's batch."""
    return batch[list(rows)] if isinstance(batch, Tensor) else [batch[row] for row in rows]


def _truth(facts: Sequence[Mapping[str, Any]]) -> dict[str, Int[Tensor, "B"]]:
    return {
        "digit": torch.tensor([fact["digit"] for fact in facts]),
        "colour": torch.tensor([COLOURS.index(fact["colour"]) for fact in facts]),
        "motion": torch.tensor([MOTIONS.index(fact["motion"]) for fact in facts]),
    }


def _stack(batch: list[Any]) -> Any:
    return to_float(torch.stack(batch)) if isinstance(batch[0], Tensor) else batch
