"""Your own clips as clean shards.

python -m video.shards --source my_clips --out data/clips --size 32 --frames 4
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from core.canvas import SQUARE, Fit, to_square
from core.cleaning import readable
from core.cli import command, plain_options
from core.engine import EngineName, engine_named
from core.errors import UserError
from core.members import encode_clip, to_bytes
from core.outcome import FLAGS, Hint
from core.records import Source, as_files, find_sources
from core.splits import Members, cleaned, report, write_splits
from video.files import SUFFIXES, read_frames

UNREAD = {".wmv", ".flv", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".ogv", ".vob"}
"""Of clips that are not read, so that the last line can say so."""
HINTS = {
    "cut to the square in its middle": Hint("crop or pad them to squares before", changed=True),
    "enlarged": Hint("a lower --size keeps their pixels", changed=True),
    "frames between those picked left out": Hint("a higher --frames keeps more", changed=True),
    "frames repeated": Hint("a lower --frames repeats none", changed=True),
}


def shards(
    source: Path,
    out: Path,
    size: int = 32,
    frames: int = 4,
    fps: int = 4,
    fit: Fit = "plain",
    val_fraction: float = 0.1,
    licence: str = "not stated",
    strict: bool = False,
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Turn your clips (MP4, MOV, WebM, MKV, AVI, GIF, WebP, APNG) into shards for training.

    They are files, members of tar (webdataset) and zip files, or rows of Parquet files and of what
    Hugging Face's datasets saved.

    Frames are picked evenly in time from a clip's first to its last: of a film those nearest to
    such moments, of an animation those shown then. Its largest centred square is resized. Damaged,
    single-frame and duplicate ones are dropped and counted in the manifest.

    Args:
        source: Folder with such files, also in folders below it and behind links; or one file, or
            a pattern: "shards/*.tar", "shards/{000..012}.tar".
        out: Folder to write; train and val appear in it.
        size: Side of the frames written, in pixels.
        frames: Frames of the clips written.
        fps: Frames a second at which the written clips are to be shown, for the manifest.
        fit: `plain` takes the largest centred square, `auto` looks for a drawing on a plain sheet.
        val_fraction: Share of clips for validation, chosen by a hash of their content.
        licence: Licence of the clips, for the manifest.
        strict: Fail, and write nothing, if more than a tenth is dropped, cut, enlarged or thinned.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    if min(size, frames, fps) < 1:
        raise UserError(f"size {size}, frames {frames} and fps {fps} must be at least 1")
    dropped: Counter[str] = Counter()
    files = find_sources(source, SUFFIXES, dropped, UNREAD)
    clean = partial(_clean, size=size, frames=frames, fit=fit)
    samples = cleaned(
        engine_named(engine, workers, address), clean, files, dropped, "clips", len(files)
    )
    options = {"size": size, "frames": frames, "fps": fps, "fit": fit}
    manifests = write_splits(
        out,
        samples,
        required=["video.npy"],
        dropped=dropped,
        val_fraction=val_fraction,
        hints=HINTS,
        strict=strict,
        source=source.name,
        licence=licence,
        builder={"command": "video.shards", "val_fraction": val_fraction, **options},
        fields={"size": size, "frames": frames, "fps": fps},
    )
    report(out, manifests, HINTS)


def _clean(
    sources: Iterable[Source], dropped: Counter[str], *, size: int, frames: int, fit: Fit
) -> Iterator[Members]:
    for path in as_files(sources, SUFFIXES, dropped):
        changes: list[str] = []
        read = partial(_read, size=size, frames=frames, fit=fit, changes=changes)
        yield from readable([path], read, dropped)
        dropped.update(changes)


def _read(path: Path, *, size: int, frames: int, fit: Fit, changes: list[str]) -> dict[str, bytes]:
    clip, count = read_frames(path, frames)
    changes += _changes(clip.shape[-2:], count, size, frames, fit)
    return {"video.npy": encode_clip(to_bytes(to_square(clip, size, fit)))}


def _changes(sides: Sequence[int], count: int, size: int, frames: int, fit: Fit) -> Iterator[str]:
    """Yield what a clip of `count` frames suffers when it becomes `frames` squares of `size`."""
    if fit == "plain" and max(sides) > SQUARE * min(sides):
        yield "cut to the square in its middle"
    if min(sides) < size:
        yield "enlarged"
    if count > frames:
        yield "frames between those picked left out"
    if count < frames:
        yield "frames repeated"


if __name__ == "__main__":
    command(shards, plain_options(sys.argv[1:], flags=FLAGS))
