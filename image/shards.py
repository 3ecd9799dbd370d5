"""Your own pictures as clean shards.

python -m image.shards --source my_pictures --out data/pictures --size 32
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from core.canvas import SQUARE, Fit
from core.cleaning import keep, readable
from core.cli import command, plain_options
from core.engine import EngineName, engine_named
from core.errors import UserError
from core.members import encode_png, to_bytes
from core.outcome import FLAGS, Hint
from core.pictures import decoding
from core.records import Source, as_files, find_sources
from core.splits import Members, cleaned, report, write_splits
from image.files import FORMATS, SUFFIXES, read_image

UNREAD = {".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".jp2", ".jxl", ".psd", ".dng"}
"""Of pictures that are not read, so that the last line can say so."""
HINTS = {
    "too small": Hint("a lower --min_side keeps them"),
    "cut to the square in its middle": Hint("crop or pad them to squares before", changed=True),
    "enlarged": Hint(
        "a lower --size keeps their pixels, a higher --min_side drops them", changed=True
    ),
}


def shards(
    source: Path,
    out: Path,
    size: int = 32,
    fit: Fit = "plain",
    min_side: int = 16,
    val_fraction: float = 0.1,
    licence: str = "not stated",
    strict: bool = False,
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Turn your pictures (PNG, JPEG, WebP) into shards for training and validation.

    They are files, members of tar (webdataset) and zip files, or rows of Parquet files and of what
    Hugging Face's datasets saved.

    Pictures are turned upright, transparency becomes white, and the largest centred square is
    resized. Damaged, too small and duplicate ones are dropped and counted in the manifest.

    Args:
        source: Folder with such files, also in folders below it and behind links; or one file, or
            a pattern: "shards/*.tar", "shards/{000..012}.tar".
        out: Folder to write; train and val appear in it.
        size: Side of the pictures written, in pixels.
        fit: `plain` takes the largest centred square, `auto` looks for a drawing on a plain sheet.
        min_side: Pictures with a shorter side, in pixels, are dropped.
        val_fraction: Share of pictures for validation, chosen by a hash of their content.
        licence: Licence of the pictures, for the manifest.
        strict: Fail, and write nothing, if more than a tenth is dropped, cut or enlarged.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    if size < 1 or min_side < 1:
        raise UserError(f"size {size} and min_side {min_side} must be at least 1 pixel")
    dropped: Counter[str] = Counter()
    files = find_sources(source, SUFFIXES, dropped, UNREAD - SUFFIXES)
    clean = partial(_clean, size=size, fit=fit, min_side=min_side)
    samples = cleaned(
        engine_named(engine, workers, address), clean, files, dropped, "pictures", len(files)
    )
    options = {"size": size, "fit": fit, "min_side": min_side, "val_fraction": val_fraction}
    manifests = write_splits(
        out,
        samples,
        required=["png"],
        dropped=dropped,
        val_fraction=val_fraction,
        hints=HINTS,
        strict=strict,
        source=source.name,
        licence=licence,
        builder={"command": "image.shards", **options},
        fields={"size": size},
    )
    report(out, manifests, HINTS)


def _clean(
    sources: Iterable[Source], dropped: Counter[str], *, size: int, fit: Fit, min_side: int
) -> Iterator[Members]:
    for path in as_files(sources, SUFFIXES, dropped):
        sides = _sides(path)
        large = keep([path], {"too small": lambda _, s=sides: min(s) >= min_side}, dropped)
        for sample in readable(large, partial(_read, size=size, fit=fit), dropped):
            dropped.update(_changes(sides, size, fit))
            yield sample


def _read(path: Path, *, size: int, fit: Fit) -> dict[str, bytes]:
    return {"png": encode_png(to_bytes(read_image(path, size, fit)))}


def _changes(sides: tuple[float, float], size: int, fit: Fit) -> Iterator[str]:
    """Yield what a picture of so many pixels suffers when it becomes a square of `size`."""
    if fit == "plain" and max(sides) > SQUARE * min(sides):
        yield "cut to the square in its middle"
    if min(sides) < size:
        yield "enlarged"


def _sides(path: Path) -> tuple[float, float]:
    """Width and height in pixels; infinite where they cannot be told, as decoding will say why."""
    try:
        with decoding(), Image.open(path, formats=FORMATS) as image:
            return float(image.width), float(image.height)
    except (OSError, Image.DecompressionBombError):
        return float("inf"), float("inf")


if __name__ == "__main__":
    command(shards, plain_options(sys.argv[1:], flags=FLAGS))
