"""Recordings of spoken digits in place of the bank: they carry the digit alone."""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from core.errors import UserError
from multimodal.factors import Split
from multimodal.speech import RATE, Waveform, trim, vary

VALIDATION = range(5, 8)
"""Takes of the training speakers that validate."""


class Recordings:
    """The Free Spoken Digit Dataset: digits alone, 8 kHz; splits are speakers.

    In the order of their names, turned by the fold: the first tests, the second is the readers',
    all others train, and some of their takes validate. So nobody who is heard in a test was heard
    before, by models or by readers.
    """

    def __init__(self, folder: Path, fold: int = 0):
        paths = sorted(folder.glob("*_*_*.wav"))
        speakers = sorted({path.stem.split("_")[1] for path in paths})
        if len(speakers) < 3:
            raise UserError(
                f"{folder} does not hold the Free Spoken Digit Dataset (0_george_0.wav, ...); run:"
                " git clone https://github.com/Jakobovski/free-spoken-digit-dataset"
                " and name the folder with --speech_source"
            )
        if not 0 <= fold < len(speakers):
            raise UserError(
                f"fold is {fold} but there are {len(speakers)} speakers: choose 0 to"
                f" {len(speakers) - 1}"
            )
        turned = speakers[fold:] + speakers[:fold]
        self.speakers: dict[Split, list[str]] = {
            "test": turned[:1],
            "readers": turned[1:2],
            "train": turned[2:],
            "val": turned[2:],
        }
        self._folder = folder
        self._found = defaultdict(list)
        for path in paths:
            digit, speaker, take = path.stem.split("_")
            self._found[self._split(speaker, int(take)), int(digit)].append((path.name, speaker))

    def _split(self, speaker: str, take: int) -> Split:
        for split in ("test", "readers"):
            if speaker in self.speakers[split]:
                return split
        return "val" if take in VALIDATION else "train"

    @classmethod
    def find(cls, source: Path | None, fold: int = 0) -> "Recordings":
        """Open the recordings: a given folder, or the one in UNISON_DATA."""
        if source is None:
            root = Path(os.environ.get("UNISON_DATA", "data/sources"))
            source = root / "free-spoken-digit-dataset"
        return cls(source / "recordings" if (source / "recordings").is_dir() else source, fold)

    def utter(self, split: Split, digit: int, rng: np.random.Generator) -> tuple[Waveform, str]:
        """Return a recording of a digit with a start, gain and noise, and its speaker's name."""
        import soundfile

        takes = self._found[split, digit]
        name, speaker = takes[rng.integers(len(takes))]
        wave, _ = soundfile.read(self._folder / name, dtype="float32")
        return vary(trim(wave, RATE), rng), speaker
