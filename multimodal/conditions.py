"""Write embeddings under which generators of another design train: for comparison only.

    python -m multimodal.conditions --embeddings runs/e --kind any --out runs/any

What a generator of this repository is told is the embedding of its own modality. Other systems tell
it any modality's, or one latent that all modalities share; with these shards the same training
commands (`--data.embeddings`) train those. And what a prior sees of data that was paired with one
modality only: of each sample that one and one other.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from core.cli import command
from core.members import decode_npy, encode_npy
from core.noise import integers, mix
from core.shards import ShardReader, write_shards
from multimodal.data import EmbeddedData
from multimodal.towers import MODALITIES, QUERIES, ModalityName

Kind = Literal["any", "shared", "star"]


def conditions(
    embeddings: Path,
    out: Path,
    kind: Kind,
    splits: tuple[str, ...] = ("train", "val"),
    anchor: ModalityName = "text",
) -> None:
    """Write shards of the same samples in which each modality's place holds something else.

    Args:
        embeddings: What `python -m multimodal.embed` wrote.
        out: Folder to write the same splits to.
        kind: `any`: the embedding of a modality drawn for each sample and place; `shared`: the mean
            of the sample's embeddings, of unit length, in every place; `star`: its own embedding,
            but only the anchor and one other modality, drawn for each sample, have a place.
        splits: Which of them.
        anchor: Of the star.
    """
    for split in splits:
        reader = ShardReader(embeddings / split)
        write_shards(
            out / split,
            _samples(reader, kind, anchor),
            required=(),
            optional=tuple(EmbeddedData.members.values()),
            source=f"{split} of dataset {reader.manifest.dataset_id[:12]}",
            licence=reader.manifest.licence,
            dropped={},
            builder={"command": "multimodal.conditions", "kind": kind},
            fields={name: reader.manifest.fields[name] for name in ("embedding_dim", "of")},
        )


def _samples(reader: ShardReader, kind: Kind, anchor: str) -> Iterator[dict[str, bytes | str]]:
    members = {EmbeddedData.members[m]: m for m in MODALITIES}
    for index, key in enumerate(reader.index["key"]):
        held = reader.read(index)
        if kind == "star":
            yield {"__key__": str(key)} | {m: held[m] for m in star_members(anchor, index)}
            continue
        rows = [decode_npy(held[member]) for member in members if member in held]
        told = conditions_of(torch.stack(rows), kind, index)
        yield {"__key__": str(key)} | {
            member: encode_npy(row) for member, row in zip(members, told, strict=True)
        }


def star_members(anchor: str, index: int) -> list[str]:
    """Return what a sample of a star shows: the anchor and one other, with their queries."""
    others = [m for m in MODALITIES if m != anchor]
    shown = (anchor, others[int(integers(mix(index, torch.zeros(1, dtype=torch.int64)), 3))])
    fields = [field for m in shown for field in (m, QUERIES.get(m)) if field]
    return [EmbeddedData.members[field] for field in fields]


def conditions_of(rows: Float[Tensor, "M E"], kind: Kind, index: int) -> Float[Tensor, "N E"]:
    """Return what each of the N modalities is told of a sample that has embeddings of M."""
    count = len(MODALITIES)
    if kind == "shared":
        return normalize(rows.mean(dim=0), dim=-1).expand(count, -1)
    return rows[integers(mix(index, torch.arange(count)), len(rows))]


if __name__ == "__main__":
    command(conditions)
