"""Second readers: the same questions answered in another way, so that a shared mistake shows.

Where the first are networks, plain code and a parser, these learn everything, from descriptors
written by hand and in closed form: pictures and clips by gradients, colours by histograms, motion
by phase correlation, sounds by cepstra, captions by counts of words. They learn from the readers'
split only, by `python -m multimodal.readers`, and agreement.py says what they add.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.errors import UserError
from core.files import existing_file, new_file
from multimodal import second_inputs as inputs
from multimodal.learners import KernelMachine, Learner, NaiveBayes
from multimodal.tuples import MODALITIES, Tuples, load_tuples, pick

CHUNK = 250  # signals a pass; bounds memory


@dataclass(frozen=True)
class Trait:
    """One description of a signal, and what is read from it."""

    describe: Callable[[Any], Float[Tensor, "B D"]]
    """Signals to descriptions."""
    factors: tuple[str, ...]
    """What a description tells."""
    learner: type[Learner] = KernelMachine
    """How."""


TRAITS: Mapping[str, Mapping[str, Trait]] = {
    "text": {"words": Trait(inputs.words, ("digit", "colour", "motion"), NaiveBayes)},
    "image": {
        "shape": Trait(inputs.shape, ("digit",)),
        "palette": Trait(inputs.palette, ("colour",)),
    },
    "audio": {"cepstra": Trait(inputs.cepstra, ("digit", "colour"))},
    "video": {
        "shape": Trait(inputs.clip_shape, ("digit",)),
        "palette": Trait(inputs.clip_palette, ("colour",)),
        "shifts": Trait(inputs.shifts, ("motion",)),
    },
}
"""Modality to its descriptions by name."""


@dataclass(frozen=True)
class SecondReader:
    """Reads one modality by all of its traits."""

    modality: str
    """Key of TRAITS."""
    learners: Mapping[str, Learner]
    """Trait to what was learned from it."""

    @torch.inference_mode()
    def predict(self, signal: Any) -> dict[str, Int[Tensor, "B"]]:
        """Labels by factor; -1 where words name none."""
        labels = {}
        for name, trait in TRAITS[self.modality].items():
            described = describe(trait, signal)
            labels |= self.learners[name].predict(described, trait.factors)
        return labels


def describe(trait: Trait, signal: Any) -> Float[Tensor, "B D"]:
    """Describe any number of signals."""
    starts = range(0, len(signal), CHUNK)
    rows = (range(start, min(start + CHUNK, len(signal))) for start in starts)
    return torch.cat([trait.describe(pick(signal, part)) for part in rows])


def train_second_readers(world: Path, out: Path) -> int:
    """Train and save all of them on <world>/readers, on one core; return their parameters."""
    torch.set_num_threads(1)
    tuples = load_tuples(world / "readers")
    return sum(_save(fit(modality, tuples), out) for modality in MODALITIES)


@torch.inference_mode()
def fit(modality: str, tuples: Tuples) -> SecondReader:
    """Learn a modality's factors from samples in random order."""
    signal, truth = tuples.signals[modality], tuples.truth
    learners = {
        name: trait.learner.fit(describe(trait, signal), {f: truth[f] for f in trait.factors})
        for name, trait in TRAITS[modality].items()
    }
    return SecondReader(modality, learners)


def load_second_readers(folder: Path) -> dict[str, SecondReader]:
    """Open them as `python -m multimodal.readers` left them beside the first."""
    return {modality: _load(modality, _path(folder, modality)) for modality in MODALITIES}


def _path(folder: Path, modality: str) -> Path:
    return folder / f"second_{modality}.safetensors"


def _save(reader: SecondReader, folder: Path) -> int:
    tensors = {
        f"{name}.{field}": tensor.contiguous()
        for name, learner in reader.learners.items()
        for field, tensor in vars(learner).items()
    }
    with new_file(_path(folder, reader.modality)) as path:
        save_file(tensors, path)
    return sum(tensor.numel() for tensor in tensors.values())


def _load(modality: str, path: Path) -> SecondReader:
    again = f"python -m multimodal.readers --out {path.parent}"
    if not path.is_file():
        raise UserError(f"{path.parent} holds no {path.name}; train the readers with: {again}")
    try:
        tensors = load_file(existing_file(path))
        learners = {n: t.learner(**_fields(tensors, n)) for n, t in TRAITS[modality].items()}
    except (SafetensorError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} holds no second reader of this version ({reason}); train the readers again: "
            f"{again}"
        ) from error
    return SecondReader(modality, learners)


def _fields(tensors: Mapping[str, Tensor], trait: str) -> dict[str, Tensor]:
    prefix = f"{trait}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
