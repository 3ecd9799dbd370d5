"""Your own clips as clean shards.

python -m video.shards --source my_clips --out data/clips --size 32 --frames 4
"""

from collections import Counter
from pathlib import Path

from core.canvas import Fit
from core.cleaning import readable
from core.cli import command
from core.members import encode_clip, to_bytes
from core.splits import find_files, report, with_progress, write_splits
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
    """
    if min(size, frames, fps) < 1:
        raise ValueError(f"size {size}, frames {frames} and fps {fps} must be at least 1")
    dropped: Counter[str] = Counter()
    files = with_progress(find_files(source, SUFFIXES, dropped), "clips")
    samples = readable(
        files,
        lambda path: {"video.npy": encode_clip(to_bytes(read_video(path, size, frames, fit)))},
        dropped,
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


if __name__ == "__main__":
    command(shards)
