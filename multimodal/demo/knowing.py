"""What an embedding knows: linear probes of a run's towers, read on one signal."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from core.errors import UserError
from multimodal.demo.offered import is_labelled
from multimodal.demo.uploads import read_weighed, typed
from multimodal.folder_shards import SUFFIXES, modality_of
from multimodal.probes import Probes, accuracies, fit
from multimodal.probes import read as read_split
from multimodal.unison import Unison

SAMPLES = 4000
"""Training samples that probes are fitted on, as in `multimodal.probes`."""


@dataclass(frozen=True)
class Known:
    """What probes say of one embedding."""

    modality: str
    """Of the signal."""
    labels: Mapping[str, Mapping[str, float]]
    """Factor -> value -> probability; only factors that the modality carries."""
    size: float
    """From 0 (tiny) to 1 (huge)."""
    accuracy: Mapping[str, float]
    """Factor -> the probe's accuracy on validation samples; of the size its rank correlation."""


def input_signal(
    text: str, file: str | None, sizes: Mapping[str, Mapping[str, int]] | None = None
) -> tuple[str, Any]:
    """Return modality and signal of what a person gave: a file, or else words.

    Args:
        text: The words.
        file: Path of the file.
        sizes: Of signals, as `Unison.sizes` has them.
    """
    if file:
        if Path(file).suffix.lower() not in SUFFIXES:
            raise UserError(f"{Path(file).name} is of no known kind; choose {', '.join(SUFFIXES)}")
        modality = modality_of(Path(file))
        size = (sizes or {}).get(modality)
        return modality, read_weighed(modality, Path(file), Path(file).name, size)
    if not text.strip():
        raise UserError("nothing is given; type words or choose a file")
    return "text", typed(text)


def what_is_known(unison: Unison, modality: str, signal: Any) -> Known:
    """Embed a signal and read it by the probes of its modality, fitted when first used."""
    batch = signal[None].float() if isinstance(signal, Tensor) else [signal]
    place = unison.embed({modality: batch})[modality].cpu()
    return probed(place[0], modality, *fitted(unison.run.resolve(), modality))


def probed(
    place: Float[Tensor, "E"], modality: str, probes: Probes, accuracy: Mapping[str, float]
) -> Known:
    """Read one embedding."""
    x = place[None].numpy()
    labels = {
        factor: dict(zip(map(str, probe.classes_), probe.predict_proba(x)[0].tolist(), strict=True))
        for factor, probe in probes.labels.items()
    }
    size = min(1.0, max(0.0, float(probes.size.predict(x)[0])))
    return Known(modality, labels, size, accuracy)


@cache
def fitted(run: Path, modality: str) -> tuple[Probes, dict[str, float]]:
    """Return the probes of one modality of a run, and how right they are on validation samples."""
    train, val = _splits(run)
    probes = fit(modality, train)
    return probes, accuracies(probes, modality, val)


@cache
def _splits(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    embeddings, world = run / "embeddings", run / "world"
    for folder in (embeddings, world):
        if not folder.is_dir():
            raise UserError(
                f"{folder} is not there, and probes are fitted on training embeddings and what "
                "they show; run the quick start's stages world and embeddings again"
            )
    if not is_labelled(world / "train"):
        raise UserError(f"the samples in {world} have no labels that probes could learn to read")
    train, val = (read_split(embeddings / s, world / s, SAMPLES, 0.0) for s in ("train", "val"))
    return train, val
