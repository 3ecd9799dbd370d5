"""Pair your own files by name: seven.png, seven.wav and seven.txt are one sample."""

import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from core.engine import Engine, Local
from core.manifest import Manifest
from core.members import encode_clip, encode_flac, encode_png, to_bytes, to_pcm
from core.outcome import Hint
from core.sources import find_files
from core.splits import Members, cleaned, write_splits
from multimodal.media import MEDIA

RATE = 8000
"""Hz of sounds, as the default models take them."""
SUFFIXES: dict[str, str] = {
    **dict.fromkeys((".txt",), "text"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp"), "image"),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".mp3"), "audio"),
    **dict.fromkeys((".mp4", ".webm", ".gif"), "video"),
}
"""Kind of file -> modality; a WebP that moves is a video."""
MEMBERS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "text": ("txt", str.encode),
    "image": ("png", lambda signal: encode_png(to_bytes(signal))),
    "audio": ("flac", lambda signal: encode_flac(to_pcm(signal), RATE)),
    "video": ("video.npy", lambda signal: encode_clip(to_bytes(signal))),
}
"""Modality -> the member of a sample and how a signal becomes its bytes."""
HINTS = {
    "no partner": Hint("name them like their partners: seven.png, seven.wav, seven.txt"),
    "second file of a modality": Hint("a sample takes one; give the others a name of their own"),
    **{
        f"undecodable {name}": Hint("open one of them to see why; save it again")
        for name in MEMBERS
    },
}


class Group(dict[str, Path]):
    """Modality -> file, all of one name."""

    def __str__(self) -> str:
        return " + ".join(map(str, self.values()))


def build_folder(
    source: Path,
    out: Path,
    val_fraction: float,
    licence: str,
    engine: Engine = Local(),
    *,
    strict: bool = False,
) -> dict[str, Manifest]:
    """Write train and val shards of the files below `source`, paired by folder and stem.

    A sample needs two modalities or more; what is left out is counted in the manifest.
    """
    dropped: Counter[str] = Counter()
    files = find_files(source, SUFFIXES.keys(), dropped)
    count = sum(1 for _ in pair_files(files, Counter()))
    groups = pair_files(files, dropped)
    return write_splits(
        out,
        cleaned(engine, read_pairs, groups, dropped, "pairs", count),
        required=[],
        optional=[member for member, _ in MEMBERS.values()],
        dropped=dropped,
        val_fraction=val_fraction,
        hints=HINTS,
        strict=strict,
        source=source.name,
        licence=licence,
        builder={"command": "multimodal.shards folder", "val_fraction": val_fraction},
        fields={"rate": RATE},
    )


def pair_files(files: Iterable[Path], dropped: Counter[str]) -> Iterator[Group]:
    """Yield the files that share folder and stem, one a modality: the first by name.

    Args:
        files: Sorted. Only those are held whose names begin with the stem of one before.
        dropped: Counts by reason, filled while the groups are drawn.
    """
    coming, held = iter(files), deque[Path]()
    while held or (held := deque(islice(coming, 1))):
        stem = held[0].with_suffix("")
        while _begins(held[-1], stem) and (more := next(coming, None)):
            held.append(more)
        alike = [path for path in held if path.with_suffix("") == stem]
        held = deque(path for path in held if path.with_suffix("") != stem)
        yield _one_each(alike, dropped)


def read_pairs(groups: Iterable[Group], dropped: Counter[str]) -> Iterator[Members]:
    """Yield what can be read of each group, if that is a pair at least."""
    for group in groups:
        sample = dict(_read_group(group, dropped))
        if len(sample) < 2:
            dropped["no partner"] += len(sample)
        else:
            yield sample


def modality_of(path: Path) -> str:
    """Return the modality of a file by its suffix, and of a WebP by whether it moves."""
    modality = SUFFIXES[path.suffix.lower()]
    return "video" if path.suffix.lower() == ".webp" and _moves(path) else modality


def _begins(path: Path, stem: Path) -> bool:
    """Tell whether files of this stem may follow on a path: names that begin with it and a dot."""
    return str(path).startswith(f"{stem}.")


def _one_each(files: Iterable[Path], dropped: Counter[str]) -> Group:
    group = Group()
    for path in files:
        if group.setdefault(modality_of(path), path) != path:
            dropped["second file of a modality"] += 1
    return group


def _read_group(group: Group, dropped: Counter[str]) -> Iterator[tuple[str, bytes]]:
    for modality, path in group.items():
        member, encode = MEMBERS[modality]
        try:
            with warnings.catch_warnings(
                action="ignore"
            ):  # that a recording was cut, once for each
                yield member, encode(MEDIA[modality].read(path))
        except ValueError:
            dropped[f"undecodable {modality}"] += 1


def _moves(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return getattr(image, "is_animated", False)
    except (OSError, ValueError, SyntaxError):
        return False
