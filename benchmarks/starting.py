"""Seconds to the first batch, fresh and resumed in mid-epoch, on many shards and samples.

    python -m benchmarks.starting --shards 10000 --per_shard 100

The dataset is one shard of captions under ten thousand names, so it is quickly made; manifest and
index are of full size. Imports are not counted, everything after them is.
"""

import os
import statistics
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from core.cli import command
from core.data import ShardData
from core.manifest import Manifest
from core.shards import INDEX, write_shards
from text import TextData


def starting(shards: int = 10_000, per_shard: int = 100, repeats: int = 5) -> None:
    """Build the dataset, start on it several times and print a table.

    Args:
        shards: Tar files.
        per_shard: Samples of each.
        repeats: Starts of each kind; the table has median, least and most.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        build(root, shards, per_shard)
        print(f"{shards:,} shards, {shards * per_shard:,} samples\n")
        print("| start | median s | least | most |\n|---|---|---|---|")
        fresh = [_seconds(root, 0) for _ in range(repeats)]
        halfway = shards * per_shard // 64 // 2
        resumed = [_seconds(root, halfway) for _ in range(repeats)]
        over = [b - a for a, b in zip(fresh, resumed, strict=True)]
        rows = {"fresh": fresh, "resumed in mid-epoch": resumed, "the difference": over}
        for name, values in rows.items():
            numbers = (statistics.median(values), min(values), max(values))
            print(f"| {name} | {' | '.join(f'{x:.2f}' for x in numbers)} |")


def build(root: Path, shards: int, per_shard: int) -> None:
    """Write one shard to `train` and give it many names; the same to `val`, once."""
    samples = ({"__key__": f"{i:08d}", "txt": b"a red seven moves left"} for i in range(per_shard))
    options = {"required": ["txt"], "source": "one caption", "licence": "none"}
    manifest = write_shards(root / "train", samples, per_shard=per_shard, **options)
    (first,), folder = manifest.shards, root / "train"
    names = [f"{number:06d}.tar" for number in range(shards)]
    for name in names[1:]:
        os.link(folder / first.name, folder / name)
    index = np.tile(np.load(folder / INDEX), shards)
    index["shard"] = np.repeat(np.arange(shards), per_shard)
    np.save(folder / INDEX, index)
    many = tuple(replace(first, name=name) for name in names)
    values = asdict(manifest) | {"shards": many, "samples": len(index)}
    Manifest(**values).save(folder)


def _seconds(root: Path, consumed: int) -> float:
    """Return the time from nothing to a batch, of a run that has consumed so many before."""
    start = time.perf_counter()
    data: ShardData = TextData(str(root), batch_size=64)
    if consumed:
        data.load_state_dict(data.state_dict() | {"batches_consumed": consumed})
    next(iter(data.train_dataloader()))
    return time.perf_counter() - start


if __name__ == "__main__":
    command(starting)
