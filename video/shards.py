"""Your own clips as clean shards.

python -m video.shards --source my_clips --out data/clips --size 32 --frames 4
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from core.canvas import Fit
from core.cleaning import readable
from core.cli import command
from core.engine import EngineName, engine_named
from core.errors import UserError
from core.members import encode_clip, to_bytes
from core.sources import find_files
from core.splits import Members, cleaned, report, write_splits
from video.files import read_video

SUFFIXES = {".mp4", ".webm", ".gif", ".webp"}


def shards(
    source: Path,
    out: Path,
    size: int = 32,
    frames: int = 4,
    fps: int = 4,
    fit: Fit = "plain",
    val_fraction: float = 0.1,
    licence: str = "not stated",
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Turn a folder of MP4, WebM, GIF and animated WebP files into shards for training.

    Frames are picked evenly from a clip's first to its last, and its largest centred square is
    resized. Damaged, single-frame and duplicate ones are dropped and counted in the manifest.

    Args:
        source: Folder with clips, also in folders below it.
        out: Folder to write; train and val appear in it.
        size: Side of the frames written, in pixels.
        frames: Frames of the clips written.
        fps: Frames a second at which the written clips are to be shown, for the manifest.
        fit: `plain` takes the largest centred square, `auto` looks for a drawing on a plain sheet.
        val_fraction: Share of clips for validation, chosen by a hash of their content.
        licence: Licence of the clips, for the manifest.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    if min(size, frames, fps) < 1:
        raise UserError(f"size {size}, frames {frames} and fps {fps} must be at least 1")
    dropped: Counter[str] = Counter()
    files = find_files(source, SUFFIXES, dropped)
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
        source=source.name,
        licence=licence,
        builder={"command": "video.shards", "val_fraction": val_fraction, **options},
        fields={"size": size, "frames": frames, "fps": fps},
    )
    report(out, manifests)


def _clean(
    files: Iterable[Path], dropped: Counter[str], *, size: int, frames: int, fit: Fit
) -> Iterator[Members]:
    return readable(
        files,
        lambda path: {"video.npy": encode_clip(to_bytes(read_video(path, size, frames, fit)))},
        dropped,
    )


if __name__ == "__main__":
    command(shards)
