"""From the user's own files to clean shards: train and val split by content, duplicates dropped."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.cleaning import distinct
from core.engine import Engine, map_in_order
from core.errors import UserError
from core.files import new_folder
from core.manifest import Manifest
from core.outcome import CHANGED, Hints, outcome_of, parted
from core.shard_writer import ShardWriter, check_absent
from core.shards import ShardReader

SPLITS = ("train", "val")
Members = Mapping[str, bytes]
"""A sample without a key: extension -> bytes."""
Clean = Callable[[Iterable[Any], Counter[str]], Iterator[Members]]
"""Turns sources into clean samples, each by itself, and counts what it drops."""


@dataclass(frozen=True)
class Cleaned:
    """What came of one source."""

    samples: list[Members]
    """Those to keep."""
    dropped: Counter[str]
    """Counts of the others by reason."""


def cleaned(
    engine: Engine,
    clean: Clean,
    sources: Iterable[Any],
    dropped: Counter[str],
    title: str,
    total: int,
) -> Iterator[Members]:
    """Yield the clean samples of all sources in order, beside a progress bar on stderr.

    Args:
        clean: At the top level of a module, or a partial of such, as workers may run it.
        dropped: Counts by reason, filled while the samples are drawn.
        title: What the sources are called.
        total: How many sources there are.
    """
    made = map_in_order(engine, partial(_clean_one, clean), sources)
    for one in with_progress(made, title, total):
        dropped.update(one.dropped)
        yield from one.samples


def write_splits(
    out: Path,
    samples: Iterable[Members],
    *,
    required: Sequence[str],
    dropped: Counter[str],
    val_fraction: float,
    optional: Sequence[str] = (),
    hints: Hints | None = None,
    strict: bool = False,
    split_by: Sequence[str] | None = None,
    **facts: Any,
) -> dict[str, Manifest]:
    """Write `out/train` and `out/val`; `out` appears whole or not at all.

    A sample's split depends on its content alone, so it stays where it is when others come or go.
    Exact duplicates are dropped, or a sample could be in both splits.

    Args:
        dropped: Counts by reason, filled while the samples are drawn; goes into both manifests.
            Counts of inputs that are kept but changed, as `hints` tells, go into their cards.
        val_fraction: Share of samples for validation; at least one goes there and one does not.
        hints: Reason -> what changes it (`core.outcome`).
        strict: Raise, and write nothing, if more than a tenth of the inputs is dropped or changed.
        split_by: Members whose content decides on the split, so that samples that share them stay
            together; all by default.
        facts: `source`, `licence`, `builder`, `card`, `fields` of the manifests.
    """
    if not 0 < val_fraction < 1:
        raise UserError(f"val_fraction is {val_fraction} but must lie between 0 and 1")
    check_absent(out)
    about = Manifest(0, (), tuple(required), optional=tuple(optional), **facts)
    kept = distinct(samples, lambda sample: content_digest(sample, about.members), dropped)
    deal = _Deal(about, dropped, val_fraction, hints or {}, tuple(split_by or about.members))
    with new_folder(out) as folder:
        manifests = deal.write(folder, kept)
        if strict:
            outcome_of(manifests, hints or {}).check(out)
        return manifests


def report(out: Path, manifests: Mapping[str, Manifest], hints: Hints | None = None) -> None:
    """Print what was written and what was dropped; the last line sums it up, with ways out."""
    for split, manifest in manifests.items():
        print(f"{out / split}: {manifest.samples} samples")
    for reason, count in sorted(manifests["train"].dropped.items()):
        print(f"dropped {count}: {reason}")
    print(outcome_of(manifests, hints or {}).line(out))


def with_progress(items: Iterable[Any], title: str, total: int) -> Iterator[Any]:
    """Yield the items beside a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import track

    return iter(track(items, title, total, console=Console(stderr=True)))


def content_digest(sample: Mapping[str, Any], members: Iterable[str]) -> bytes:
    """Return the SHA-256 of what is equal for equal samples only."""
    digest = hashlib.sha256()
    for name in members:
        if name in sample:
            digest.update(f"{name} {len(sample[name])} ".encode())
            digest.update(sample[name])
    return digest.digest()


def _clean_one(clean: Clean, source: Any) -> Cleaned:
    dropped: Counter[str] = Counter()
    return Cleaned(list(clean([source], dropped)), dropped)


@dataclass(frozen=True)
class _Deal:
    """How samples are dealt to splits."""

    about: Manifest
    dropped: Counter[str]
    val_fraction: float
    hints: Hints
    split_by: tuple[str, ...]
    """Members whose content decides."""

    def write(self, folder: Path, samples: Iterable[Members]) -> dict[str, Manifest]:
        """Write each sample to its split, named by its number among all."""
        train, val = (ShardWriter(folder / split, self.about) for split in SPLITS)
        with train, val:
            for number, sample in enumerate(samples):
                writer = val if self.share(sample) < self.val_fraction else train
                writer.add({"__key__": f"{number:08d}", **sample})
            written = [writer for writer in (train, val) if writer.samples]
            if len(written) != 1:
                return {writer.folder.name: self.finish(writer) for writer in (train, val)}
            manifest = self.finish(written[0])
        return self.part(folder, written[0].folder, manifest)

    def share(self, sample: Mapping[str, Any]) -> float:
        """Return a number in [0, 1) that hashes what decides on a sample's split."""
        return int.from_bytes(content_digest(sample, self.split_by)[:6]) / 2**48

    def finish(self, writer: ShardWriter) -> Manifest:
        """End a split, whose manifest tells dropped inputs from changed ones."""
        dropped, changed = parted(self.dropped, self.hints)
        if changed:
            writer.about = replace(writer.about, card={**writer.about.card, CHANGED: changed})
        return writer.finish(dropped)

    def part(self, folder: Path, whole: Path, about: Manifest) -> dict[str, Manifest]:
        """Write two splits in place of the one that all samples fell into: one of them moves."""
        everything = whole.rename(folder / "all")
        shutil.rmtree(folder / ("val" if whole.name == "train" else "train"))
        reader = ShardReader(everything)
        samples = (reader.read(i) for i in range(len(reader)))
        shares = np.fromiter((self.share(sample) for sample in samples), float)
        if shares.min() == shares.max():
            count = "1 usable sample was" if about.samples == 1 else "one signal with its texts was"
            lost = ", ".join(f"{n} {reason}" for reason, n in sorted(about.dropped.items()) if n)
            raise UserError(
                f"only {count} found{f' ({lost} left out)' if lost else ''} but two splits need at "
                "least 2; add files to the source"
            )
        in_val = shares <= shares.min() if whole.name == "train" else shares < shares.max()
        manifests = {}
        for split, places in zip(SPLITS, (~in_val, in_val), strict=True):
            with ShardWriter(folder / split, about) as writer:
                for place in np.flatnonzero(places):
                    writer.add(reader.read(int(place)))
                manifests[split] = writer.finish(about.dropped)
        shutil.rmtree(everything)
        return manifests
