"""Files that other tools made than the world's: what a run makes of each, or the message it gives.

A folder of files of any modality; labels.json beside them (file name -> digit, colour, motion) may
say what each shows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import UserError
from multimodal.directions import make
from multimodal.factors import COLOURS, MOTIONS
from multimodal.folder_shards import SUFFIXES, modality_of
from multimodal.readers import Reader
from multimodal.systems import System
from multimodal.tuples import CARRIED, MODALITIES
from multimodal.unison import read

GIVEN = "given"
WORDS = {"digit": [str(d) for d in range(10)], "colour": COLOURS, "motion": MOTIONS}


@dataclass(frozen=True)
class Trial:
    """One file, and what came of it."""

    name: str
    """The file's name."""
    modality: str
    """What it was read as."""
    labels: Mapping[str, str]
    """What it shows, of digit, colour and motion."""
    message: str = ""
    """Why nothing came of it; else the next two hold what did."""
    read: Mapping[str, Mapping[str, str]] | None = None
    """Target modality -> what its reader reads in the output."""
    right: Mapping[str, bool] | None = None
    """Target modality -> whether that is what the file shows, in all that the target carries."""


def find_trials(folder: Path) -> list[Path]:
    """Return the folder's files of known kinds, by modality and name; none is an error."""
    files = [p for p in sorted(folder.glob("*")) if p.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(
            f"{folder} holds no files to try; put some of {', '.join(SUFFIXES)} there, or leave"
            " out --files"
        )
    return sorted(files, key=lambda path: MODALITIES.index(modality_of(path)))


def try_files(
    system: System, readers: Mapping[str, Reader], folder: Path, seed: int
) -> tuple[list[Trial], dict[str, Any]]:
    """Generate all modalities from each file; return the trials and the signals to show."""
    known = folder / "labels.json"
    labels = json.loads(known.read_text()) if known.is_file() else {}
    trials, signals = [], {}
    for path in find_trials(folder):
        shown = {f: str(v) for f, v in labels.get(path.name, {}).items() if f in WORDS}
        trial, batches = _try(system, readers, path, shown, seed)
        trials.append(trial)
        signals |= {f"{path.name}/{key}": batch for key, batch in batches.items()}
    return trials, signals


def _try(
    system: System, readers: Mapping[str, Reader], path: Path, shown: Mapping[str, str], seed: int
) -> tuple[Trial, dict[str, Any]]:
    modality = modality_of(path)
    try:
        signal = read(modality, path)
    except ValueError as error:
        return Trial(path.name, modality, shown, message=str(error).replace(str(path), "it")), {}
    batch = signal[None] if isinstance(signal, Tensor) else [signal]
    made = make(system, {modality: batch}, [seed]).signals
    told = {m: _words(readers[m].predict(made[m])) for m in MODALITIES}
    right = {
        m: all(told[m].get(f) == v for f, v in shown.items() if f in CARRIED[m]) for m in MODALITIES
    }
    return Trial(path.name, modality, shown, read=told, right=right), {GIVEN: batch, **made}


def _words(labels: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return what a reader says of a batch of one; what it cannot read is a dash."""
    said = {f: int(index[0]) for f, index in labels.items() if f in WORDS}
    return {f: WORDS[f][i] if i >= 0 else "-" for f, i in said.items()}
