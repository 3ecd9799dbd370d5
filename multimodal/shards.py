"""Build paired shards: the world of spoken moving digits, or a folder of your own files.

python -m multimodal.shards world --out data/world
python -m multimodal.shards folder --source my_files --out data/mine
"""

from pathlib import Path

from core.cli import command
from multimodal.digits import DigitSource
from multimodal.speech import SpeechSource
from multimodal.world import WorldConfig


def world(
    out: Path,
    digits: DigitSource = WorldConfig.digits,
    speech: SpeechSource = WorldConfig.speech,
    languages: list[str] = list(WorldConfig.languages),  # noqa: B006
    seed: int = WorldConfig.seed,
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
        train: Samples to train on.
        readers: Samples to train the independent readers on.
        val: Samples to validate on.
        test: Samples to test on, held-out combinations among them.
        digits_source: Folder of MNIST's idx files; else UNISON_DATA/mnist, else a download.
        speech_source: Folder of FSDD's recordings; else UNISON_DATA/free-spoken-digit-dataset.
        workers: Processes; all cores by default. The bytes do not depend on it.
    """
    from multimodal.world_shards import build_world

    config = WorldConfig(digits, speech, tuple(languages), seed, train, readers, val, test)
    manifests = build_world(
        config, out, digits_source=digits_source, speech_source=speech_source, workers=workers
    )
    for split, manifest in manifests.items():
        print(f"{out / split}: {manifest.samples} samples, {manifest.dataset_id[:12]}")


if __name__ == "__main__":
    command({"world": world})
