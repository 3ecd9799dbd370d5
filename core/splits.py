"""From the user's own files to clean shards: train and val split by content, duplicates dropped."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.cleaning import distinct
from core.files import new_folder
from core.manifest import Manifest
from core.shards import ShardReader, check_absent, write_shards

Members = Mapping[str, bytes]
"""A sample without a key: extension -> bytes."""


def find_files(source: Path, suffixes: Collection[str], dropped: Counter[str]) -> list[Path]:
    """Return the files below a folder (or the one file) that have one of the suffixes, sorted.

    Others are counted as dropped; hidden files are not looked at.
    """
    if not source.exists():
        raise ValueError(f"{source} does not exist; name a folder with files to read")
    found = [source] if source.is_file() else sorted(source.rglob("*"))
    files = [path for path in found if path.is_file() and not path.name.startswith(".")]
    fitting = [path for path in files if path.suffix.lower() in suffixes]
    if len(fitting) < len(files):
        dropped["other kind of file"] += len(files) - len(fitting)
    if not fitting:
        raise ValueError(
            f"{source} holds no {', '.join(sorted(suffixes))} among its {len(files)} files; "
            "name another folder"
        )
    return fitting


def with_progress(items: Sequence[Any], title: str) -> Iterator[Any]:
    """Yield the items beside a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import track

    return iter(track(items, title, console=Console(stderr=True)))


def write_splits(
    out: Path,
    samples: Iterable[Members],
    *,
    required: Sequence[str],
    dropped: Counter[str],
    val_fraction: float,
    optional: Sequence[str] = (),
    **facts: Any,
) -> dict[str, Manifest]:
    """Write `out/train` and `out/val`; `out` appears whole or not at all.

    A sample's split depends on its content alone, so it stays where it is when others come or go.
    Exact duplicates are dropped, or a sample could be in both splits.

    Args:
        dropped: Counts by reason, filled while the samples are drawn; goes into both manifests.
        val_fraction: Share of samples for validation; at least one goes there and one does not.
        facts: `source`, `licence`, `builder`, `card`, `fields` of the manifests.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction} but must lie between 0 and 1")
    check_absent(out)
    members = (*required, *optional)
    shares: list[float] = []
    with new_folder(out) as folder:
        kept = _keyed(distinct(samples, lambda s: _content(s, members), dropped), members, shares)
        everything = folder / "all"
        declared = {"required": required, "optional": optional, "dropped": dropped}
        write_shards(everything, kept, **declared, source="", licence="")
        reader, places = ShardReader(everything), _split(shares, val_fraction)
        manifests = {
            split: write_shards(folder / split, map(reader.read, chosen), **declared, **facts)
            for split, chosen in places.items()
        }
        shutil.rmtree(everything)
    return manifests


def report(out: Path, manifests: Mapping[str, Manifest]) -> None:
    """Print what was written and what was dropped."""
    for split, manifest in manifests.items():
        print(f"{out / split}: {manifest.samples} samples")
    for reason, count in sorted(manifests["train"].dropped.items()):
        print(f"dropped {count}: {reason}")


def _content(sample: Members, members: Iterable[str]) -> bytes:
    """Bytes that are equal for equal samples only."""
    held = [name for name in members if name in sample]
    return b"".join(f"{name} {len(sample[name])} ".encode() + sample[name] for name in held)


def _keyed(
    samples: Iterable[Members], members: Iterable[str], shares: list[float]
) -> Iterator[dict[str, Any]]:
    """Number the samples, and note for each a number in [0, 1) that hashes its content."""
    for number, sample in enumerate(samples):
        digest = hashlib.sha256(_content(sample, members)).digest()
        shares.append(int.from_bytes(digest[:6]) / 2**48)
        yield {"__key__": f"{number:08d}", **sample}


def _split(shares: Sequence[float], val_fraction: float) -> dict[str, list[int]]:
    """Return the positions of each split: those with the smallest shares are for validation."""
    if len(shares) < 2:
        raise ValueError(
            "only 1 usable sample was found but two splits need at least 2; add files to the source"
        )
    last = sorted(shares)[min(max(sum(s < val_fraction for s in shares), 1), len(shares) - 1) - 1]
    val = [i for i, share in enumerate(shares) if share <= last]
    return {"train": [i for i, share in enumerate(shares) if share > last], "val": val}
