"""Write the towers' embeddings of a dataset as sidecar shards with the same keys and order.

python -m multimodal.embed --alignment runs/alignment/last.ckpt --source data/world --out runs/e
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from core.checkpoint import load_module
from core.cli import command
from core.devices import pick_device
from core.members import encode_npy
from core.shards import ShardReader, write_shards
from multimodal.alignment import AlignmentModule
from multimodal.data import EmbeddedData, PairedData
from multimodal.towers import QUERIES

TOWER_OF = {slot: modality for modality, slot in QUERIES.items()}
"""Query field -> the modality whose tower reads it."""


def embed(
    alignment: Path,
    source: Path,
    out: Path,
    splits: Sequence[str] = ("train", "val"),
    batch_size: int = 250,
    device: str = "auto",
) -> None:
    """Embed every split of a dataset.

    Args:
        alignment: Checkpoint of `python -m multimodal.train`.
        source: Folder with a folder of paired shards a split.
        out: Folder to write the same splits to.
        splits: Which of them.
        batch_size: Samples a batch.
        device: Where to compute, as torch names it; `auto` takes a GPU if there is one.
    """
    module = load_module(alignment, AlignmentModule).to(pick_device(device))
    for split in splits:
        reader = ShardReader(source / split)
        write_shards(
            out / split,
            _samples(module, source, split, batch_size, reader),
            required=(),
            optional=tuple(EmbeddedData.members.values()),
            source=f"{split} of dataset {reader.manifest.dataset_id[:12]}",
            licence=reader.manifest.licence,
            dropped={},
            builder={"command": "multimodal.embed"},
            fields={
                "embedding_dim": module.hparams["towers"].embedding,
                "of": reader.manifest.dataset_id,
            },
        )


def _samples(
    module: AlignmentModule, source: Path, split: str, batch_size: int, reader: ShardReader
) -> Iterator[dict[str, bytes | str]]:
    """Yield the embeddings of each sample, in the order of the dataset."""
    audio = module.hparams["towers"].audio
    data = PairedData(
        str(source),
        rate=audio.mel.rate,
        seconds=audio.samples / audio.mel.rate,
        train=split,
        val=split,
        batch_size=batch_size,
        cache=False,
    )
    keys = reader.index["key"]
    fields = [f for f in EmbeddedData.members if TOWER_OF.get(f, f) in module.towers]
    batches = cast(Iterable[dict[str, Any]], data.val_dataloader())
    for batch in batches:
        rows = {f: embed_field(module, f, batch[f]) for f in fields if f in batch}
        for i, index in enumerate(batch["index"].tolist()):
            if batch["mask"][i]:
                held = {
                    EmbeddedData.members[f]: encode_npy(v[i])
                    for f, v in rows.items()
                    if batch["present"][f][i]
                }
                yield {"__key__": str(keys[index]), **held}


@torch.no_grad()
def embed_field(module: AlignmentModule, field: str, signal: Tensor | list[str]) -> Tensor:
    """Return the embeddings of one field of a batch: of a modality, or of its partial query."""
    modality = TOWER_OF.get(field, field)
    if isinstance(signal, list):
        signal = [text or "nothing" for text in signal]  # absent ones are dropped afterwards
    else:
        signal = signal.to(module.device)
    return module.embed(modality, signal).cpu()


if __name__ == "__main__":
    command(embed)
