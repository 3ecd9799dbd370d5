"""Build paired shards: the world of spoken moving digits, or a folder of your own files.

python -m multimodal.shards world --out data/world
python -m multimodal.shards folder --source my_files --out data/mine
"""

import sys
from pathlib import Path
from typing import Literal

from core.cli import command, plain_options, quoted_lists
from core.engine import EngineName
from core.outcome import FLAGS
from multimodal.digits import DigitSource
from multimodal.speech import SpeechSource
from multimodal.world import WorldConfig


def world(
    out: Path,
    digits: DigitSource = WorldConfig.digits,
    speech: SpeechSource = WorldConfig.speech,
    languages: list[str] = list(WorldConfig.languages),  # noqa: B006
    seed: int = WorldConfig.seed,
    fold: int = WorldConfig.fold,
    train: int = WorldConfig.train,
    readers: int = WorldConfig.readers,
    val: int = WorldConfig.val,
    test: int = WorldConfig.test,
    digits_source: Path | None = None,
    speech_source: Path | None = None,
    workers: int | None = None,
) -> None:
    """Build the world of spoken moving digits.

    Args:
        out: Folder to write: train, readers, val and test below it.
        digits: Handwriting: scikit-learn's 8x8 scans, or MNIST.
        speech: Voices: espeak-ng, recordings of digits (FSDD), or none.
        languages: Of captions and speech: en, es.
        seed: The same seed gives the same bytes.
        fold: With recordings: which speaker tests, and the next is the readers'; the others train.
        train: Samples to train on.
        readers: Samples to train the independent readers on.
        val: Samples to validate on.
        test: Samples to test on, held-out combinations among them.
        digits_source: Folder of MNIST's idx files; else UNISON_DATA/mnist, else a download.
        speech_source: Folder of FSDD's recordings; else UNISON_DATA/free-spoken-digit-dataset.
        workers: Processes; all cores by default. The bytes do not depend on it.
    """
    from multimodal.world_shards import build_world

    config = WorldConfig(digits, speech, tuple(languages), seed, fold, train, readers, val, test)
    manifests = build_world(
        config, out, digits_source=digits_source, speech_source=speech_source, workers=workers
    )
    for split, manifest in manifests.items():
        print(f"{out / split}: {manifest.samples} samples, {manifest.dataset_id[:12]}")


def folder(
    source: Path,
    out: Path,
    size: int = 32,
    rate: int = 8000,
    seconds: float = 1.3,
    frames: int = 4,
    field: str | None = None,
    captions: Literal["one", "each"] = "one",
    val_fraction: float = 0.1,
    licence: str = "not stated",
    strict: bool = False,
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Turn your own files into paired shards: seven.png + seven.wav + seven.txt.

    Files of one folder and stem are a sample, of two modalities or more, of at most one file each.
    So are the members of a tar (webdataset) or zip file, a row of a Parquet file or of what Hugging
    Face's datasets saved, and a file with the caption that metadata.jsonl, .csv or .parquet has.
    Duplicates and what cannot be read or lacks a partner are dropped and counted in the manifest.

    Args:
        source: Folder with such files, also in folders below it and behind links; or one file, or
            a pattern: "shards/*.tar", "shards/{000..012}.tar".
        out: Folder to write; train and val appear in it.
        size: Side of the pictures and frames written, in pixels.
        rate: Hz of the sounds written.
        seconds: Length of the sounds written.
        frames: Frames of the clips written.
        field: Key or column of captions; by default text, caption or another usual one.
        captions: Of several captions of a sample: `one` takes the first, and a .txt with its lines
            joined; `each` makes a sample of each (all of them in one split).
        val_fraction: Share of samples for validation, chosen by a hash of their content.
        licence: Licence of the files, for the manifest.
        strict: Fail, and write nothing, if more than a tenth is dropped, cut, resampled or joined.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    from core.engine import engine_named
    from core.splits import report
    from multimodal.folder_shards import HINTS, Signals, build_folder

    signals = Signals(size, rate, seconds, frames)
    options = {"signals": signals, "field": field, "captions": captions, "strict": strict}
    runs_on = engine_named(engine, workers, address)
    report(out, build_folder(source, out, val_fraction, licence, runs_on, **options), HINTS)


if __name__ == "__main__":
    words = plain_options(quoted_lists(sys.argv[1:], ["--languages"]), flags=FLAGS)
    command({"world": world, "folder": folder}, words)
