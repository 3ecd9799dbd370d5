"""Signals as bytes that a browser or a client can use."""

import base64
import io
import json
import shlex
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal.media import MEDIA
from multimodal.wish import Wish

TYPES = {"text": "text/plain", "image": "image/png", "audio": "audio/wav", "video": "video/mp4"}
"""Of the files that `MEDIA` writes."""


def write(path: Path, modality: str, signal: Any, rate: int | None = None) -> None:
    """Write a signal as `multimodal.generate` does; a sound at `rate` Hz."""
    more = {"rate": rate} if modality == "audio" and rate else {}
    MEDIA[modality].write(path, signal, **more)


def as_file(modality: str, signal: Any, rate: int | None = None) -> bytes:
    """Return a signal as the content of the file that `multimodal.generate` would write."""
    with tempfile.TemporaryDirectory(prefix="unison-reply-") as folder:
        path = Path(folder) / f"signal{MEDIA[modality].suffix}"
        write(path, modality, signal, rate)
        return path.read_bytes()


def as_json(modality: str, signal: Any, rate: int | None = None) -> Any:
    """Return a text as it is, anything else as its media type and its file in base64."""
    if modality == "text":
        return signal
    data = base64.b64encode(as_file(modality, signal, rate)).decode()
    return {"type": TYPES[modality], "data": data}


def samples_of(
    wish: Wish, made: Mapping[str, Any], rate: int | None = None
) -> list[dict[str, Any]]:
    """Return a dictionary a sample: its seed, and what was made with it."""
    return [
        {"seed": seed} | {m: as_json(m, signals[i], rate) for m, signals in made.items()}
        for i, seed in enumerate(wish.seeds)
    ]


def as_zip(
    wish: Wish, made: Mapping[str, Any], about: Mapping[str, Any], rate: int | None = None
) -> bytes:
    """Return a ZIP file with a file a signal, named by its seed, and about.json."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("about.json", json.dumps(about, indent=1))
        for modality, signals in made.items():
            for seed, signal in zip(wish.seeds, signals, strict=True):
                archive.writestr(f"{seed}{MEDIA[modality].suffix}", as_file(modality, signal, rate))
    return buffer.getvalue()


def command_line(wish: Wish, given: Mapping[str, str], run: str | Path, out: str = "out") -> str:
    """Return the command that makes the same.

    Args:
        wish: What was asked for.
        given: Modality -> the caption, or the path of the file, that was given.
        run: Folder of the models.
        out: Folder to write.
    """
    words = ["python", "-m", "multimodal.generate", "--run", str(run)]
    for modality, value in given.items():
        words += [f"--{modality}", value]
    words += ["--to", *wish.to, "--seed", str(wish.seed), "--count", str(wish.count)]
    for name in ("guidance", "steps"):
        value = getattr(wish, name)
        words += [] if value is None else [f"--{name}", str(value)]
    words += ["--first-frame"] if wish.first_frame else []
    return shlex.join([*words, "--out", out])
