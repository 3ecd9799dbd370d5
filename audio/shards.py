"""Your own recordings as clean shards.

python -m audio.shards --source my_recordings --out data/recordings --rate 8000 --seconds 1.3
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from audio.files import (
    SECONDS,
    SUFFIXES,
    AudioFit,
    Recording,
    SilentError,
    at_rate,
    padded,
    read_recording,
    read_stretches,
)
from core.cli import command, plain_options
from core.engine import EngineName, engine_named
from core.errors import UserError
from core.members import encode_flac, to_pcm
from core.outcome import FLAGS, Hint
from core.records import Source, Sources, as_files, find_sources
from core.splits import Members, cleaned, report, write_splits

UNREAD = {".wma", ".amr", ".au", ".snd", ".ac3", ".ape", ".wv", ".mid", ".midi"}
"""Of sounds that are not read, so that the last line can say so."""
HINTS = {
    "too small": Hint("a lower --min_seconds keeps them"),
    "silent": Hint("record them louder"),
    "cut": Hint("--pieces keeps all of them, a higher --seconds more", changed=True),
    "resampled": Hint("another --rate keeps theirs", changed=True),
    "with channels that cancel": Hint("one stands for all, or they are turned", changed=True),
    "beyond full scale, made quieter": Hint("export them with a peak of at most 1", changed=True),
}


@dataclass(frozen=True)
class Shape:
    """What the sounds written are like."""

    rate: int
    seconds: float
    fit: AudioFit
    min_seconds: float
    pieces: bool

    @property
    def samples(self) -> int:
        """Samples of each."""
        return round(self.rate * self.seconds)


class TooShortError(UserError):
    """A recording, or a piece of one, that is shorter than is wanted."""


def shards(
    source: Path,
    out: Path,
    rate: int = 8000,
    seconds: float = 1.3,
    fit: AudioFit = "plain",
    min_seconds: float = 0.1,
    pieces: bool = False,
    val_fraction: float = 0.1,
    licence: str = "not stated",
    strict: bool = False,
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Turn your recordings (WAV, FLAC, OGG, Opus, MP3, M4A, AIFF ...) into shards for training.

    They are files, members of tar (webdataset) and zip files, or rows of Parquet files and of what
    Hugging Face's datasets saved.

    Channels are averaged (unless they cancel), the rate is converted, longer recordings are cut and
    shorter ones padded. Damaged, silent, too short and duplicate ones are dropped and counted in
    the manifest.

    Args:
        source: Folder with such files, also in folders below it and behind links; or one file, or
            a pattern: "shards/*.tar", "shards/{000..012}.tar".
        out: Folder to write; train and val appear in it.
        rate: Hz of the sounds written.
        seconds: Length of the sounds written.
        fit: `auto` cuts off silent ends and evens the loudness, `plain` does neither.
        min_seconds: Shorter recordings, and shorter last pieces, are dropped.
        pieces: Cut recordings of any length into pieces of `seconds` instead of taking their
            beginning; all pieces of one recording go into the same split.
        val_fraction: Share of recordings for validation, chosen by a hash of their content.
        licence: Licence of the recordings, for the manifest.
        strict: Fail, and write nothing, if more than a tenth is dropped, cut or resampled.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    if rate < 1 or seconds * rate < 1:
        raise UserError(f"rate {rate} Hz and seconds {seconds} must be positive")
    dropped: Counter[str] = Counter()
    files = find_sources(source, SUFFIXES, dropped, UNREAD)
    shape = Shape(rate, seconds, fit, min_seconds, pieces)
    clean = partial(_clean, shape=shape)
    samples = cleaned(
        engine_named(engine, workers, address), clean, files, dropped, "recordings", len(files)
    )
    options = asdict(shape)
    manifests = write_splits(
        out,
        samples,
        required=["flac"],
        dropped=dropped,
        val_fraction=val_fraction,
        hints=HINTS,
        strict=strict,
        optional=["recording.txt"] if pieces else [],
        split_by=["recording.txt"] if pieces and not _is_one_recording(files) else None,
        source=source.name,
        licence=licence,
        builder={"command": "audio.shards", "val_fraction": val_fraction, **options},
        fields={"rate": rate, "seconds": seconds},
    )
    report(out, manifests, HINTS)


def _is_one_recording(files: Sources) -> bool:
    return len(files) == 1 and isinstance(next(iter(files)), Path)


def _clean(sources: Iterable[Source], dropped: Counter[str], *, shape: Shape) -> Iterator[Members]:
    for path in as_files(sources, SUFFIXES, dropped):
        changes: set[str] = set()
        try:
            yield from _pieces(path, shape, changes, dropped)
        except UserError as error:
            dropped[_reason(error)] += 1
        dropped.update(changes)


def _pieces(
    path: Path, shape: Shape, changes: set[str], dropped: Counter[str]
) -> Iterator[Members]:
    """Yield the samples of a recording; note what was done to it, count what is left out of it."""
    name = b""
    for found in _stretches(path, shape):
        waves = torch.split(found.wave, round(shape.seconds * found.rate)) if shape.pieces else ()
        for wave in waves or (found.wave,):
            one = replace(found, wave=wave)
            try:
                data = _encoded(path, one, shape, changes)
            except UserError as error:
                dropped[_reason(error)] += 1
                continue
            name = name or hashlib.sha256(data).hexdigest().encode()
            yield {"flac": data, **({"recording.txt": name} if shape.pieces else {})}


def _stretches(path: Path, shape: Shape) -> Iterator[Recording]:
    if shape.pieces:
        yield from read_stretches(path, shape.seconds)
    else:
        yield read_recording(path, longest=SECONDS[1])


def _encoded(path: Path, found: Recording, shape: Shape, changes: set[str]) -> bytes:
    """Return one sound as FLAC, of the wanted rate and length."""
    if found.seconds < shape.min_seconds:
        raise TooShortError(f"{path} lasts {found.seconds:.3f} s; lower --min_seconds")
    wave = at_rate(path, found, shape.rate, shape.fit)
    noted = {
        "cut": len(wave) > shape.samples or not found.whole,
        "resampled": found.rate != shape.rate,
        "with channels that cancel": found.cancelled,
        "beyond full scale, made quieter": bool(found.wave.abs().max() > 1),
    }
    changes.update(reason for reason, happened in noted.items() if happened)
    return encode_flac(to_pcm(padded(wave, shape.samples)), shape.rate)


def _reason(error: UserError) -> str:
    match error:
        case TooShortError():
            return "too small"
        case SilentError():
            return "silent"
        case _:
            return "undecodable"


if __name__ == "__main__":
    flags = {**FLAGS, "--pieces": "--pieces"}
    command(shards, plain_options(sys.argv[1:], flags=flags))
