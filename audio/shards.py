"""Your own recordings as clean shards.

python -m audio.shards --source my_recordings --out data/recordings --rate 8000 --seconds 1.3
"""

import warnings
from collections import Counter
from pathlib import Path
from typing import Literal

import soundfile

from audio.files import read_audio
from core.cleaning import keep, readable
from core.cli import command
from core.members import encode_flac, to_pcm
from core.splits import find_files, report, with_progress, write_splits

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
    """
    if rate < 1 or seconds * rate < 1:
        raise ValueError(f"rate {rate} Hz and seconds {seconds} must be positive")
    dropped: Counter[str] = Counter()
    files = with_progress(find_files(source, SUFFIXES, dropped), "recordings")
    long = keep(files, {"too small": lambda path: _seconds(path) >= min_seconds}, dropped)
    samples = readable(long, lambda path: _read(path, rate, round(rate * seconds), fit), dropped)
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


def _read(path: Path, rate: int, samples: int, fit: Literal["auto", "plain"]) -> dict[str, bytes]:
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
