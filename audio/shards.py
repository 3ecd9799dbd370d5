"""Your own recordings as clean shards.

python -m audio.shards --source my_recordings --out data/recordings --rate 8000 --seconds 1.3
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import soundfile

from audio.files import read_audio
from core.cleaning import keep, readable
from core.cli import command
from core.engine import EngineName, engine_named
from core.errors import UserError
from core.members import encode_flac, to_pcm
from core.sources import find_files
from core.splits import Members, cleaned, report, write_splits

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}


def shards(
    source: Path,
    out: Path,
    rate: int = 8000,
    seconds: float = 1.3,
    fit: Literal["auto", "plain"] = "plain",
    min_seconds: float = 0.1,
    val_fraction: float = 0.1,
    licence: str = "not stated",
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Turn a folder of WAV, FLAC, OGG and MP3 files into shards for training and validation.

    Channels are averaged, the rate is converted, longer recordings are cut and shorter ones padded.
    Damaged, silent, too short and duplicate ones are dropped and counted in the manifest.

    Args:
        source: Folder with recordings, also in folders below it.
        out: Folder to write; train and val appear in it.
        rate: Hz of the sounds written.
        seconds: Length of the sounds written.
        fit: `auto` cuts off silent ends and evens the loudness, `plain` does neither.
        min_seconds: Shorter recordings are dropped.
        val_fraction: Share of recordings for validation, chosen by a hash of their content.
        licence: Licence of the recordings, for the manifest.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    if rate < 1 or seconds * rate < 1:
        raise UserError(f"rate {rate} Hz and seconds {seconds} must be positive")
    dropped: Counter[str] = Counter()
    files = find_files(source, SUFFIXES, dropped)
    read = partial(_read, rate=rate, samples=round(rate * seconds), fit=fit)
    clean = partial(_clean, read=read, min_seconds=min_seconds)
    samples = cleaned(
        engine_named(engine, workers, address), clean, files, dropped, "recordings", len(files)
    )
    options = {"rate": rate, "seconds": seconds, "fit": fit, "min_seconds": min_seconds}
    manifests = write_splits(
        out,
        samples,
        required=["flac"],
        dropped=dropped,
        val_fraction=val_fraction,
        source=source.name,
        licence=licence,
        builder={"command": "audio.shards", "val_fraction": val_fraction, **options},
        fields={"rate": rate, "seconds": seconds},
    )
    report(out, manifests)


def _clean(
    files: Iterable[Path],
    dropped: Counter[str],
    *,
    read: Callable[[Path], dict[str, bytes]],
    min_seconds: float,
) -> Iterator[Members]:
    long = keep(files, {"too small": lambda path: _seconds(path) >= min_seconds}, dropped)
    return readable(long, read, dropped)


def _read(
    path: Path, *, rate: int, samples: int, fit: Literal["auto", "plain"]
) -> dict[str, bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a recording was cut, once for each
        wave = read_audio(path, rate, samples, fit)
    return {"flac": encode_flac(to_pcm(wave), rate)}


def _seconds(path: Path) -> float:
    """Length of a recording; infinite where it cannot be told, as decoding will say why."""
    try:
        return soundfile.info(path).duration
    except (OSError, ValueError, soundfile.LibsndfileError):
        return float("inf")


if __name__ == "__main__":
    command(shards)
