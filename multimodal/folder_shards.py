"""Pair your own files by name, by metadata, or as they stand in archives and tables.

seven.png, seven.wav and seven.txt are one sample; so are the members of a tar file with one name,
a row of a Parquet file, and a picture with the caption that metadata.jsonl has for it.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from PIL import Image

from core.engine import Engine, Local
from core.errors import UserError
from core.manifest import Manifest
from core.members import encode_clip, encode_flac, encode_png, to_bytes, to_pcm
from core.metadata import SUFFIXES as TABLES
from core.metadata import Metadata, key_of, read_metadata
from core.outcome import Hint
from core.records import (
    CONTAINERS,
    Blob,
    Container,
    Layout,
    Record,
    captions_in,
    containers_of,
    records_of,
)
from core.sources import Files, composed, find_files, has_suffix
from core.splits import Members, cleaned, write_splits
from multimodal.media import (
    MEDIA,
    SUFFIXES,
    UNREAD,
    audio_noting,
    image_noting,
    video_noting,
)

Captions = Literal["one", "each"]
"""Of several captions: the first is taken (the lines of a .txt are joined), or each is a sample."""
MEMBERS = {"text": "txt", "image": "png", "audio": "flac", "video": "video.npy"}
"""Modality -> the member of a sample."""
HINTS = {
    "no partner": Hint("name them like their partners: seven.png, seven.wav, seven.txt"),
    "second file of a modality": Hint("a sample takes one; give the others a name of their own"),
    "further captions left out": Hint("--captions each takes them", changed=True),
    "lines of a caption joined": Hint("--captions each takes each by itself", changed=True),
    "sounds cut": Hint("a higher --seconds keeps them", changed=True),
    "sounds resampled": Hint("another --rate keeps theirs", changed=True),
    "pictures cut to a square": Hint("crop or pad them to squares before", changed=True),
    "clips cut to a square": Hint("crop or pad them to squares before", changed=True),
    "pictures enlarged": Hint("a lower --size keeps their pixels", changed=True),
    "clips enlarged": Hint("a lower --size keeps their pixels", changed=True),
    "clips of more frames": Hint("a higher --frames leaves fewer out", changed=True),
    "clips of fewer frames": Hint("a lower --frames repeats none", changed=True),
    **{
        f"undecodable {name}": Hint("open one of them to see why; save it again")
        for name in MEMBERS
    },
}


@dataclass(frozen=True)
class Signals:
    """Sizes of the signals written; models take theirs from the data."""

    size: int = 32
    """Side of pictures and frames, in pixels."""
    rate: int = 8000
    """Hz of sounds."""
    seconds: float = 1.3
    """Length of sounds."""
    frames: int = 4
    """Frames of clips."""

    @property
    def samples(self) -> int:
        """Samples of sounds."""
        return round(self.rate * self.seconds)

    def __post_init__(self):
        if min(self.size, self.rate, self.frames) < 1 or self.rate * self.seconds < 1:
            raise UserError(f"{self} must have positive sizes; change --size, --rate, --seconds")


SIGNALS = Signals()


class Group(dict[str, Path]):
    """Modality -> file, all of one name, and what else is said of them."""

    captions: tuple[str, ...] = ()
    """By metadata."""
    beside: bool = False
    """Whether a .json of this name may hold the caption."""

    def __str__(self) -> str:
        return " + ".join(map(str, self.values()))


Source = Group | Record | Container


def build_folder(
    source: Path,
    out: Path,
    val_fraction: float,
    licence: str,
    engine: Engine = Local(),
    *,
    signals: Signals = SIGNALS,
    field: str | None = None,
    captions: Captions = "one",
    strict: bool = False,
) -> dict[str, Manifest]:
    """Write train and val shards of what lies below `source`, paired by name or by row.

    A sample needs two modalities or more; what is left out is counted in the manifest.

    Args:
        field: Key or column of captions; by default the first usual one that is there.
        captions: What is done with several captions of one sample.
        strict: As for `core.splits.write_splits`.
    """
    dropped: Counter[str] = Counter()
    kinds, texts = frozenset(SUFFIXES), frozenset(k for k, m in SUFFIXES.items() if m == "text")
    layout = Layout(kinds, texts, field)
    files = find_files(source, kinds, dropped, unread=UNREAD, extra=CONTAINERS | TABLES)
    found = Found.among(files, layout, dropped)
    count = sum(1 for _ in found.sources(Counter()))
    clean = partial(read_pairs, layout=layout, signals=signals, captions=captions)
    options = {"val_fraction": val_fraction, "field": field, "captions": captions}
    return write_splits(
        out,
        cleaned(engine, clean, found.sources(dropped), dropped, "pairs", count),
        required=[],
        optional=list(MEMBERS.values()),
        dropped=dropped,
        val_fraction=val_fraction,
        split_by=[m for m in MEMBERS.values() if m != "txt"] if captions == "each" else None,
        hints=HINTS,
        strict=strict,
        source=source.name,
        licence=licence,
        builder={"command": "multimodal.shards folder", **options, **asdict(signals)},
        fields=asdict(signals),
    )


@dataclass(frozen=True)
class Found:
    """What a folder holds: files to pair, what metadata says of them, and containers."""

    files: Files
    metadata: Metadata
    in_json: bool
    """Whether captions stand in .json files, as there are no others."""

    @classmethod
    def among(cls, files: Files, layout: Layout, dropped: Counter[str]) -> "Found":
        """Look through files; tables that are neither metadata nor hold media are counted."""
        metadata = read_metadata((p for p in files if has_suffix(p, TABLES)), layout, dropped)
        plain = [p for p in files if has_suffix(p, TABLES - CONTAINERS)]
        in_json = not metadata.tables and not any(has_suffix(p, layout.texts) for p in files)
        sidecars = sum(path.suffix.lower() == ".json" for path in plain) if in_json else 0
        other = sum(path not in metadata.tables for path in plain) - sidecars
        dropped.update({"other kind of file": other} if other else {})
        return cls(files, metadata, in_json)

    def sources(self, dropped: Counter[str]) -> Iterator[Source]:
        """Yield groups of files, rows of metadata that name several, and parts of containers."""
        claimed = self.metadata.claimed()
        held = (p for p in self.files if not has_suffix(p, CONTAINERS | TABLES))
        loose = (p for p in held if not claimed or key_of(p) not in claimed)
        yield from map(self._with_captions, pair_files(loose, dropped))
        yield from self.metadata.linked
        for path in self.files:
            if has_suffix(path, CONTAINERS) and path not in self.metadata.tables:
                yield from containers_of(path, dropped)

    def _with_captions(self, group: Group) -> Group:
        told = (self.metadata.captions.get(key_of(path), ()) for path in group.values())
        group.captions, group.beside = tuple(chain(*told)), self.in_json
        return group


def pair_files(files: Iterable[Path], dropped: Counter[str]) -> Iterator[Group]:
    """Yield the files that share folder and stem, one a modality: the first by name.

    Args:
        files: Sorted. Only those are held whose names begin with the stem of one before.
        dropped: Counts by reason, filled while the groups are drawn.
    """
    coming, held = iter(files), deque[Path]()
    while held or (held := deque(islice(coming, 1))):
        stem = _stem(held[0])
        while _begins(held[-1], stem) and (more := next(coming, None)):
            held.append(more)
        alike = [path for path in held if _stem(path) == stem]
        held = deque(path for path in held if _stem(path) != stem)
        yield _one_each(alike, dropped)


def read_pairs(
    sources: Iterable[Source],
    dropped: Counter[str],
    *,
    layout: Layout | None = None,
    signals: Signals = SIGNALS,
    captions: Captions = "one",
) -> Iterator[Members]:
    """Yield what can be read of each source's records, if that is a pair at least."""
    layout = layout or Layout(frozenset(SUFFIXES))
    for source in sources:
        for record in _records(source, layout, dropped):
            sample, texts = _read_record(record, signals, captions, dropped)
            if len(sample) + bool(texts) < 2:
                dropped["no partner"] += len(sample) + bool(texts)
                continue
            for text in texts or [None]:
                yield sample if text is None else {"txt": text, **sample}


def modality_of(path: Path) -> str:
    """Return the modality of a file by its suffix; a picture that moves is a video."""
    modality = SUFFIXES[path.suffix.lower()]
    both = path.suffix.lower() in MEDIA["video"].suffixes and modality == "image"
    return "video" if both and _moves(path) else modality


def _begins(path: Path, stem: str) -> bool:
    """Tell whether files of this stem may follow on a path: names that begin with it and a dot."""
    return composed(path).startswith(f"{stem}.")


def _stem(path: Path) -> str:
    """Return what the names of a sample's files share, accents written in one way."""
    return composed(path.with_suffix(""))


def _one_each(files: Iterable[Path], dropped: Counter[str]) -> Group:
    group = Group()
    for path in files:
        if group.setdefault(modality_of(path), path) != path:
            dropped["second file of a modality"] += 1
    return group


def _records(source: Source, layout: Layout, dropped: Counter[str]) -> Iterator[Record]:
    match source:
        case Group():
            blobs = tuple(Blob(str(path), path) for path in source.values())
            captions = source.captions or (_caption_beside(source, layout) if source.beside else ())
            yield Record(str(source), blobs, captions)
        case Record():
            yield source
        case _:
            yield from records_of(source, layout, dropped)


def _caption_beside(group: Group, layout: Layout) -> tuple[str, ...]:
    """Return what the .json of a group's name tells, as img2dataset writes it."""
    path = next(iter(group.values())).with_suffix(".json")
    try:
        return captions_in(json.loads(path.read_text(encoding="utf-8-sig")), layout.field)
    except (OSError, ValueError):
        return ()


def _read_record(
    record: Record, signals: Signals, captions: Captions, dropped: Counter[str]
) -> tuple[dict[str, bytes], list[bytes]]:
    """Return the members that can be read of a record, and its captions."""
    sample: dict[str, bytes] = {}
    texts: list[Blob] = []
    with ExitStack() as files:
        group: dict[str, Path] = {}
        for blob in record.blobs:
            path = files.enter_context(blob.on_disk())
            modality = modality_of(path)
            if modality == "text":
                texts += _texts(path, captions, dropped)
            elif group.setdefault(modality, path) != path:
                dropped["second file of a modality"] += 1
        for modality, path in group.items():
            if data := _encoded(modality, path, signals, dropped):
                sample[MEMBERS[modality]] = data
    texts = texts or [_text(caption) for caption in record.captions]
    if captions == "one" and len(texts) > 1:
        dropped["further captions left out"] += 1
        texts = texts[:1]
    read = (_read_text(text, signals, dropped) for text in texts)
    return sample, list(dict.fromkeys(text for text in read if text))


def _texts(path: Path, captions: Captions, dropped: Counter[str]) -> list[Blob]:
    """Return a file of captions as one, or as one for each line."""
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    if len(lines) < 2:
        return [Blob(path.name, path.read_bytes())]
    if captions == "each":
        return [Blob("line.txt", line) for line in lines]
    dropped["lines of a caption joined"] += 1
    return [Blob(path.name, path.read_bytes())]


def _text(caption: str) -> Blob:
    return Blob("caption.txt", caption.encode("utf-8", "replace"))


def _read_text(text: Blob, signals: Signals, dropped: Counter[str]) -> bytes | None:
    with text.on_disk() as path:
        return _encoded("text", path, signals, dropped)


def _encoded(modality: str, path: Path, signals: Signals, dropped: Counter[str]) -> bytes | None:
    """Return a file as a member of a sample; None, and counted, if it cannot be read."""
    changes: set[str] = set()
    try:
        data = _encode(modality, path, signals, changes)
    except ValueError:
        dropped[f"undecodable {modality}"] += 1
        return None
    dropped.update(changes)
    return data


def _encode(modality: str, path: Path, signals: Signals, changes: set[str]) -> bytes:
    """Return a file as a member of a sample; note what it suffers."""
    match modality:
        case "image":
            return encode_png(to_bytes(image_noting(path, signals.size, changes)))
        case "audio":
            wave = audio_noting(path, signals.rate, signals.samples, changes)
            return encode_flac(to_pcm(wave), signals.rate)
        case "video":
            clip = video_noting(path, signals.size, signals.frames, changes)
            return encode_clip(to_bytes(clip))
        case _:
            return MEDIA[modality].read(path).encode()


def _moves(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return getattr(image, "is_animated", False)
    except (OSError, ValueError, SyntaxError):
        return False
