"""One measurement of `benchmarks.loading`: an epoch of one loader; prints samples a second.

python -m benchmarks.loaders --loader webdataset --shards data/world/train --workers 2
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import torch

from core.cli import command
from core.manifest import Manifest
from core.members import decode_png, to_float
from core.shards import ShardReader

Loader = Literal["ours", "webdataset", "litdata"]
WINDOW = 4096
"""Samples that are shuffled together, by all."""


def loaders(shards: Path, loader: Loader, workers: int = 0, batch: int = 64) -> None:
    """Time one epoch, from its first batch on, after an epoch that warms files and workers.

    Args:
        shards: Dataset with pictures.
        loader: Whose.
        workers: Processes that read and decode.
        batch: Samples a batch.
    """
    torch.set_num_threads(1)
    make: dict[Loader, Callable[[Path, int, int], Iterable[Any]]] = {
        "ours": _ours,
        "webdataset": _webdataset,
        "litdata": _litdata,
    }
    epoch = make[loader](shards, workers, batch)
    for _ in epoch:
        pass
    count, batches = 0, iter(epoch)
    next(batches)
    start = time.perf_counter()
    for pictures in batches:
        count += len(pictures["image"])
    print(count / (time.perf_counter() - start))


def _ours(shards: Path, workers: int, batch: int) -> Iterable[Any]:
    from image import ImageData

    data = ImageData(str(shards.parent), shards.name, batch_size=batch, workers=workers,
                     window=WINDOW, cache=False)  # fmt: skip
    return data.train_dataloader()


def _webdataset(shards: Path, workers: int, batch: int) -> Iterable[Any]:
    from webdataset.compat import WebDataset, WebLoader

    urls = [str(shards / shard.name) for shard in Manifest.load(shards).shards]
    pictures = (
        WebDataset(urls, shardshuffle=len(urls), select_files=lambda name: name.endswith(".png"))
        .shuffle(WINDOW)
        .map(lambda sample: decode_png(sample["png"]))
        .batched(batch, collation_fn=_as_ours, partial=False)
    )
    return WebLoader(pictures, batch_size=None, num_workers=workers, persistent_workers=workers > 0)


def _as_ours(pictures: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"image": to_float(torch.stack(pictures))}


def _litdata(shards: Path, workers: int, batch: int) -> Iterable[Any]:
    import litdata  # pyright: ignore[reportMissingImports]

    folder = Path(f"{shards}.litdata")
    if not folder.exists():
        reader = ShardReader(shards)
        litdata.optimize(
            reader.read, list(range(len(reader))), str(folder), chunk_bytes="64MB", num_workers=1
        )
    pictures = litdata.StreamingDataset(
        str(folder), shuffle=True, drop_last=True, transform=lambda s: decode_png(s["png"])
    )
    return litdata.StreamingDataLoader(
        pictures, batch_size=batch, num_workers=workers, persistent_workers=workers > 0,
        collate_fn=_as_ours,
    )  # fmt: skip


if __name__ == "__main__":
    command(loaders)
