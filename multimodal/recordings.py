"""Recordings of spoken digits in place of the bank: they carry the digit alone."""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from multimodal.factors import SPLITS, Split
from multimodal.speech import RATE, Waveform, trim, vary


class Recordings:
    """The Free Spoken Digit Dataset: digits alone, 8 kHz; splits are blocks of takes.

    Takes 0 to 4 are the dataset's own test split. Speakers recur in all splits: there are only six.
    """

    TAKES: dict[Split, range] = {  # noqa: RUF012
        "test": range(5),
        "val": range(5, 8),
        "readers": range(8, 18),
        "train": range(18, 50),
    }

    def __init__(self, folder: Path):
        self._folder = folder
        self._found = defaultdict(list)
        for path in sorted(folder.glob("*_*_*.wav")):
            digit, speaker, take = path.stem.split("_")
            for split, takes in self.TAKES.items():
                if int(take) in takes:
                    self._found[split, int(digit)].append((path.name, speaker))
        if len(self._found) < 10 * len(SPLITS):
            raise ValueError(
                f"{folder} does not hold the Free Spoken Digit Dataset (0_george_0.wav, ...); run:"
                " git clone https://github.com/Jakobovski/free-spoken-digit-dataset"
                " and name the folder with --speech_source"
            )

    @classmethod
    def find(cls, source: Path | None) -> "Recordings":
        """Open the recordings: a given folder, or the one in UNISON_DATA."""
        if source is None:
            root = Path(os.environ.get("UNISON_DATA", "data/sources"))
            source = root / "free-spoken-digit-dataset"
        return cls(source / "recordings" if (source / "recordings").is_dir() else source)

    def utter(self, split: Split, digit: int, rng: np.random.Generator) -> tuple[Waveform, str]:
        """Return a recording of a digit with a start, gain and noise, and its speaker's name."""
        import soundfile

        takes = self._found[split, digit]
        name, speaker = takes[rng.integers(len(takes))]
        wave, _ = soundfile.read(self._folder / name, dtype="float32")
        return vary(trim(wave, RATE), rng), speaker
