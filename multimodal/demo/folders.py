"""Where the page keeps what came in and went out: a temporary folder a request, the oldest go."""

import itertools
import shutil
import tempfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal.demo.replies import write
from multimodal.media import MEDIA
from multimodal.wish import Wish

KEPT = 200
"""Requests whose files are kept."""


class Folders:
    """Numbered folders below a temporary one, which goes when the service ends."""

    def __init__(self, kept: int = KEPT):
        self._root = tempfile.TemporaryDirectory(prefix="unison-demo-")
        self._numbers = itertools.count(1)
        self._held: deque[Path] = deque()
        self._kept = kept

    @property
    def root(self) -> Path:
        """All of them lie here."""
        return Path(self._root.name)

    def new(self) -> Path:
        """Return an empty folder; the oldest beyond the number that is kept is removed."""
        folder = self.root / f"{next(self._numbers):06d}"
        folder.mkdir()
        self._held.append(folder)
        while len(self._held) > self._kept:
            shutil.rmtree(self._held.popleft(), ignore_errors=True)
        return folder

    def close(self) -> None:
        """Remove everything."""
        self._root.cleanup()


def write_made(
    folder: Path, wish: Wish, modality: str, signals: Any, rate: int | None = None
) -> list[Path]:
    """Write a file a sample, named by its seed, and return their paths; sounds at `rate` Hz."""
    paths = [folder / f"{seed}{MEDIA[modality].suffix}" for seed in wish.seeds]
    for path, signal in zip(paths, signals, strict=True):
        write(path, modality, signal, rate)
    return paths


def pack(folder: Path, given: Mapping[str, str], made: Mapping[str, list[Path]], line: str) -> Path:
    """Write all.zip: what was given, what was made, and the command that makes it again."""
    import zipfile

    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("command.txt", line + "\n")
        for modality, value in given.items():
            if modality == "text":
                archive.writestr("given/text.txt", value + "\n")
            else:
                archive.write(value, f"given/{Path(value).name}")
        for paths in made.values():
            for file in paths:
                archive.write(file, file.name)
    return path
