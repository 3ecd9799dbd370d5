"""Generate any modality from any: python -m multimodal.generate --text "a red seven" --to image."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.cli import command, plain_options
from core.errors import UserError
from core.files import new_folder

RECORD = "generated.json"
"""Says what made a folder of outputs; only a folder that has one is ever overwritten."""
FLAGS = {"--first-frame": "--first_frame", "--overwrite": "--overwrite"}


def generate(
    to: list[str],
    run: str = "runs/quickstart",
    text: str | None = None,
    image: str | None = None,
    audio: str | None = None,
    video: str | None = None,
    out: str = "out",
    count: int = 1,
    seed: int = 0,
    guidance: float | None = None,
    steps: int | None = None,
    first_frame: bool = False,
    overwrite: bool = False,
    device: str = "auto",
) -> None:
    """Generate any set of modalities from any set of inputs, or from none: a joint sample.

    Writes SEED.txt, .png, .wav and .mp4 a sample, and contact.png with all of them.

    Args:
        to: Modalities to generate: --to image audio video.
        run: Folder of a run, as `make quickstart` writes it.
        text: A caption, or a UTF-8 .txt file; it may mention any part of the whole.
        image: A PNG, JPEG or WebP file.
        audio: A WAV, FLAC, OGG or MP3 file.
        video: An MP4, WebM, GIF or animated WebP file.
        out: Folder to write; it must be new or empty.
        count: Samples; each has its own seed.
        seed: The first sample's seed; the next has seed + 1.
        guidance: Weight of the condition, 1 is none; by default each generator's own.
        steps: Solver steps for image, audio and video; by default each generator's own.
        first_frame: Start the video from the input image, or else from the generated one.
        overwrite: Replace a folder that this command wrote earlier.
        device: cpu, cuda, mps, or auto for the fastest there is.
    """
    check_out(Path(out), overwrite)
    from multimodal.media import check_modalities
    from multimodal.unison import Unison
    from multimodal.wish import Wish

    check_modalities(to)
    paths = {"text": text, "image": image, "audio": audio, "video": video}
    inputs = {name: value for name, value in paths.items() if value is not None}
    unison = Unison(run, device)
    unison.check_there(inputs, to)
    given = {name: unison.read(name, value) for name, value in inputs.items()}
    settings = {"count": count, "seed": seed, "guidance": guidance, "steps": steps}
    settings |= {"first_frame": first_frame}
    made = unison.fulfil(Wish(given, to, **settings))
    samples = {str(seed + i): {name: made[name][i] for name in to} for i in range(count)}
    with new_folder(out, replace=overwrite) as folder:
        write_samples(folder, given, samples, unison.rate if "audio" in to else None)
        record = {"run": run, "inputs": inputs, "to": to, **settings}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{out}: {count} x {', '.join(to)}; all on {Path(out) / 'contact.png'}")


def check_out(out: Path, overwrite: bool) -> None:
    """Raise if the outputs cannot go to that folder, before anything slow begins."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file but a folder is to be written; choose another --out")
    parent = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{parent} is no folder that can be written; choose another --out")
    if not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{out} is not empty; choose another --out, or add --overwrite")
    if not (out / RECORD).exists():
        raise UserError(
            f"{out} was not written by this command, so it is not overwritten; choose another --out"
        )


def write_samples(
    folder: Path,
    given: Mapping[str, Any],
    samples: Mapping[str, Mapping[str, Any]],
    rate: int | None = None,
) -> None:
    """Write a file a signal, named by its seed, and the contact sheet; sounds at that rate, Hz."""
    from multimodal.contact import write_contact_sheet
    from multimodal.media import MEDIA

    for name, signals in samples.items():
        for modality, signal in signals.items():
            more = {"rate": rate} if modality == "audio" and rate else {}
            MEDIA[modality].write(folder / f"{name}{MEDIA[modality].suffix}", signal, **more)
    write_contact_sheet(folder / "contact.png", given, samples)


if __name__ == "__main__":
    command(generate, plain_options(sys.argv[1:], lists=("--to",), flags=FLAGS))
