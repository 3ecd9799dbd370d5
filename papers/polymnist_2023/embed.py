"""Write what prior and generator train on: embeddings, and each view as a picture of its own.

python -m papers.polymnist_2023.embed --towers runs/poly/towers/last.ckpt --data data/poly --out E

Below the output folder: `tokens` (five embeddings a sample, for the prior), `pictures` (five
samples a sample, for `python -m image.train`) and `conditions` (what draws each of them).
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from core.checkpoint import load_module
from core.cli import command
from core.manifest import Manifest
from core.members import encode_npy
from core.shards import ShardReader, write_shards
from multimodal.alignment import AlignmentModule
from papers.polymnist_2023.data import Pictures, condition, load_views
from papers.polymnist_2023.views import PIXELS, VIEWS

SPLITS = ("train", "val")


def embed(towers: Path, data: Path, out: Path) -> None:
    """Embed the training and validation split.

    Args:
        towers: Checkpoint of `python -m papers.polymnist_2023.train_towers`.
        data: Folder of `python -m papers.polymnist_2023.shards`.
        out: Folder to write.
    """
    module = load_module(towers, AlignmentModule)
    for split in SPLITS:
        rows = embed_views(module, load_views(data / split).pictures)
        of, width = Manifest.load(data / split), module.hparams["towers"].embedding
        _write(out / "tokens" / split, _tokens(rows), of, f"{VIEWS[0]}.npy", width, of.dataset_id)
        pictures = _write(out / "pictures" / split, _pictures(data / split), of, "png", 0, "")
        conditions, wide = _conditions(rows), width + len(VIEWS)
        _write(out / "conditions" / split, conditions, of, "image.npy", wide, pictures.dataset_id)


@torch.no_grad()
def embed_views(module: AlignmentModule, pictures: Pictures) -> dict[str, Tensor]:
    """Return the unit embeddings of every view that there is."""
    module.eval()
    return {
        view: torch.cat([module.embed(view, part) for part in batch.split(250)])
        for view, batch in pictures.items()
    }


def _tokens(rows: dict[str, Tensor]) -> Iterator[dict[str, str | bytes]]:
    for index in range(len(rows[VIEWS[0]])):
        yield {
            "__key__": f"{index:06d}",
            **{f"{v}.npy": encode_npy(rows[v][index].clone()) for v in VIEWS},
        }


def _pictures(folder: Path) -> Iterator[dict[str, str | bytes]]:
    reader = ShardReader(folder)
    for index in range(len(reader)):
        sample = reader.read(index, [f"{view}.png" for view in VIEWS])
        for place, view in enumerate(VIEWS):
            yield {"__key__": f"{len(VIEWS) * index + place:06d}", "png": sample[f"{view}.png"]}


def _conditions(rows: dict[str, Tensor]) -> Iterator[dict[str, str | bytes]]:
    told = torch.stack([condition(view, rows[view]) for view in VIEWS], dim=1).flatten(0, 1)
    for index, row in enumerate(told):
        yield {"__key__": f"{index:06d}", "image.npy": encode_npy(row.clone())}


def _write(
    folder: Path,
    samples: Iterator[dict[str, str | bytes]],
    source: Manifest,
    member: str,
    width: int,
    of: str,
) -> Manifest:
    members = tuple(f"{v}.npy" for v in VIEWS) if member == f"{VIEWS[0]}.npy" else (member,)
    fields = {"embedding_dim": width, "of": of} if width else {"size": PIXELS}
    return write_shards(
        folder,
        samples,
        required=members,
        source=f"{folder.parent.name} of dataset {source.dataset_id[:12]}",
        licence=source.licence,
        builder={"command": "papers.polymnist_2023.embed"},
        fields=fields,
        per_shard=10_000,
    )


if __name__ == "__main__":
    command(embed)
