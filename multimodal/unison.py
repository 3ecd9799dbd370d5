"""Any of the four modalities from any of the four.

observed signals -towers-> embeddings -prior-> missing embeddings -generators-> signals
"""

import dataclasses
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from core.canvas import resize
from core.checkpoint import load_module
from core.devices import pick_device
from core.errors import UserError
from core.module import TrainedModule
from core.noise import mix
from core.sampling import FlowOptions
from multimodal.alignment import AlignmentModule
from multimodal.inputs import several, split_inputs, to_signal
from multimodal.media import MEDIA
from multimodal.prior import PriorModule
from multimodal.towers import GENERATORS
from multimodal.wish import Wish, modality_names, real, whole
from text import TextOptions

OPTIONS: dict[str, Any] = {name: FlowOptions() for name in GENERATORS} | {"text": TextOptions()}
"""How each modality is sampled unless the caller says otherwise."""
STAGES: dict[str, type] = {"alignment": AlignmentModule, "prior": PriorModule, **GENERATORS}
"""Folder of a run -> the module in its last.ckpt."""
BATCH = 32
"""Samples at a time; bounds memory."""


class Unison:
    """The models of one run, each read from its checkpoint when it is first needed."""

    def __init__(
        self, run: str | Path, device: str = "auto", replace: Mapping[str, Path] | None = None
    ):
        """Open a run's folder.

        Args:
            run: Holds <stage>/last.ckpt for the stages alignment, prior and each modality.
            device: Where to compute, as torch names it; `auto` takes a GPU if there is one.
            replace: Folders of stages that are taken from elsewhere, for comparisons.
        """
        self.run, self.replace = Path(run).expanduser(), replace or {}
        self._folder = self.run.absolute()  # stages are read later, perhaps from another folder
        if not self.run.is_dir():
            raise UserError(f"{run} is no folder of a run; train one with: make quickstart")
        self.device = pick_device(device)
        self._stages: dict[str, Any] = {}

    def generate(
        self,
        text: Any = None,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        *,
        to: str | Iterable[str],
        count: SupportsIndex = 1,
        seed: SupportsIndex = 0,
        guidance: SupportsFloat | None = None,
        steps: SupportsIndex | None = None,
        first_frame: bool = False,
    ) -> dict[str, Any]:
        """Generate `count` signals of each modality in `to`; those of one sample agree.

        Sample i depends on `seed + i` alone. Inputs that are None are left open: without any, all
        outputs are sampled jointly. An input may be a path, the bytes of a file or an open file,
        whatever its modality. A list of inputs (or a batch of what was made) is worked through one
        by one: `count` outputs of the first, then of the next, with the same seeds.

        Args:
            text: A caption, or the path of a .txt file; it may mention any part of the whole.
            image: A Pillow picture of any mode, or an array or tensor, [H W], [H W C] or [C H W].
                Of uint8 it is from 0 to 255; floats are from 0 to 1, or from -1 to 1 if some are
                below -0.1, as those that are made.
            audio: (rate, samples) in either order, or {"array": ..., "sampling_rate": ...}. Samples
                are [S], [S C] or [C S], floats or whole numbers of full scale. A waveform that was
                made needs no rate.
            video: An array or tensor, [F H W C] or [F C H W], with values as of a picture, or a
                list of pictures; frames are picked evenly.
            to: Modalities to generate, one name or several; one that was given comes out as a
                variation.
            count: Samples.
            seed: The first sample's seed.
            guidance: Weight of the condition in the generators; None is each one's default.
            steps: Solver steps of the image, audio and video generators; None is their default.
            first_frame: Start the video from the input image, or else from the generated one.

        Returns:
            Modality -> list of texts, or a tensor of signals in [-1, 1], stacked along the first
            axis: images [B 3 H W], sounds [B S] at `rate` Hz, clips [B F 3 H W]. `multimodal.save`
            writes one to a file, `multimodal.to_pillow` shows an image in a notebook.
        """
        signals = {"text": text, "image": image, "audio": audio, "video": video}
        given = {name: value for name, value in signals.items() if value is not None}
        numbers = (whole("count", count), whole("seed", seed))
        numbers += (None if guidance is None else real("guidance", guidance),)
        numbers += (None if steps is None else whole("steps", steps),)
        wish = Wish(given, modality_names(to), *numbers, first_frame)
        self.check_there(given, wish.to)
        length = self.sizes["audio"]["samples"] if "audio" in given else None
        parts = []
        for row in split_inputs(given, length):
            read = {name: self.read(name, value) for name, value in row.items()}
            parts.append(self.fulfil(dataclasses.replace(wish, given=read)))
        return {name: _join([part[name] for part in parts]) for name in wish.to}

    def fulfil(self, wish: Wish) -> dict[str, Any]:
        """Generate what is asked for from signals that `read` returned."""
        self.check_there(wish.given, wish.to)
        options = {name: options_for(name, wish.guidance, wish.steps) for name in wish.to}
        _warn_of_unused(options, wish.steps)
        observed = self.embed({name: batch_of_one(x) for name, x in wish.given.items()})
        frame = wish.given.get("image") if wish.first_frame else None
        batches = [wish.seeds[i : i + BATCH] for i in range(0, wish.count, BATCH)]
        parts = [self._generate(observed, options, b, wish.first_frame, frame) for b in batches]
        return {name: _join([part[name] for part in parts]) for name in wish.to}

    def check_there(self, given: Collection[str], to: Collection[str]) -> None:
        """Raise unless the run has towers for what is given and models for what is asked for."""
        for name in ("alignment", "prior"):
            if not self._checkpoint(name).exists():
                self.stage(name)  # says what is missing
        there = [name for name in GENERATORS if self._checkpoint(name).exists()]
        for name in to:
            if name not in there:
                raise UserError(
                    f"the run {self.run} has no {name} model, only {', '.join(there) or 'none'}; "
                    f"leave {name} out, or train one with: python -m {name}.train --out "
                    f"{self.run / name}"
                )
        towers = self.stage("alignment").towers if given else {}
        for name in given:
            if name not in towers:
                raise UserError(
                    f"the run {self.run} has no tower for {name}, only for {', '.join(towers)}; "
                    f"leave {name} out, or train towers on samples that have it"
                )

    def read(self, modality: str, value: Any) -> Any:
        """Return an input of any form (`multimodal.inputs`) as a signal of the towers' size."""
        return to_signal(modality, value, **self.sizes[modality])

    @property
    def sizes(self) -> dict[str, dict[str, int]]:
        """Modality -> what reading a file of it takes: sizes of the signals in training."""
        towers = self.stage("alignment").hparams["towers"]
        return {
            "text": {},
            "image": {"size": towers.image.size},
            "audio": {"rate": towers.audio.mel.rate, "samples": towers.audio.samples},
            "video": {"size": towers.video.size, "frames": towers.video.frames},
        }

    @property
    def rate(self) -> int:
        """Hz of the sounds that this run makes."""
        return self.stage("audio").codec.config.rate

    @torch.no_grad()
    def embed(self, signals: Mapping[str, Any]) -> dict[str, Float[Tensor, "B E"]]:
        """Return the towers' embeddings of batches of signals, or of lists of inputs."""
        tower = self.stage("alignment").embed
        batches = {name: self._batch(name, signal) for name, signal in signals.items()}
        return {name: tower(name, self._here(batch)) for name, batch in batches.items()}

    def complete(
        self, observed: Mapping[str, Float[Tensor, "B E"]], *, seeds: Sequence[int]
    ) -> dict[str, Float[Tensor, "B E"]]:
        """Return the embeddings of all modalities: those observed, and others that agree."""
        return self.stage("prior").generate(dict(observed), seeds=stage_seeds(seeds, "prior"))

    def check_seen(self, names: Collection[str], completed: Collection[str]) -> None:
        """Raise if the prior has not completed one of the modalities, as it never saw it."""
        unseen = sorted({*names} - {*completed})
        if unseen:
            raise UserError(
                f"the prior in {self.run} was trained without {unseen[0]}; leave it out, or train "
                "the prior on samples that have it"
            )

    def decode(
        self,
        modality: str,
        embeddings: Float[Tensor, "B E"],
        options: Any = None,
        *,
        seeds: Sequence[int],
        first_frame: Float[Tensor, "B 3 H W"] | None = None,
    ) -> Any:
        """Return one signal of a modality for each of its embeddings."""
        extra = {} if first_frame is None else {"first_frame": self._here(first_frame)}
        module = self.stage(modality)
        signal = module.generate(
            embeddings, options or OPTIONS[modality], seeds=stage_seeds(seeds, modality), **extra
        )
        return signal.cpu() if isinstance(signal, Tensor) else signal

    def as_frame(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 S S"]:
        """Return pictures as large as a frame of the run's clips."""
        side = self.stage("video").codec.plane.size
        return image if image.shape[-1] == side else resize(image, side)

    def _batch(self, name: str, signals: Any) -> Any:
        if isinstance(signals, Tensor) or (name == "text" and isinstance(signals, list)):
            return signals
        inputs = several(name, signals) or [signals]
        read = [self.read(name, value) for value in inputs]
        return torch.stack(read) if isinstance(read[0], Tensor) else read

    def stage(self, name: str) -> Any:
        """Return the module of a stage, in eval mode with its averaged weights."""
        if name not in self._stages:
            module = load_module(self._checkpoint(name), STAGES[name])
            if name in GENERATORS:
                self._check_width(name, module)
            self._stages[name] = module.to(self.device).eval()
        return self._stages[name]

    def _generate(
        self,
        observed: Mapping[str, Float[Tensor, "1 E"]],
        options: Mapping[str, Any],
        seeds: range,
        first_frame: bool,
        frame: Float[Tensor, "3 H W"] | None,
    ) -> dict[str, Any]:
        rows = {name: repeat(x, "1 E -> B E", B=len(seeds)) for name, x in observed.items()}
        embeddings = self.complete(rows, seeds=seeds)
        self.check_seen({*options, *observed}, embeddings)
        made: dict[str, Any] = {}
        for name in sorted(options, key=list(GENERATORS).index):  # the image before the video
            extra = {}
            if name == "video" and first_frame:
                given = frame if frame is None else repeat(frame, "C H W -> B C H W", B=len(seeds))
                given = made["image"] if given is None else given
                extra = {"first_frame": self.as_frame(given)}
            made[name] = self.decode(name, embeddings[name], options[name], seeds=seeds, **extra)
        return made

    def _checkpoint(self, name: str) -> Path:
        return self.replace.get(name, self._folder / name) / "last.ckpt"

    def _here(self, signal: Any) -> Any:
        return signal.to(self.device) if isinstance(signal, Tensor) else signal

    def _check_width(self, name: str, module: TrainedModule) -> None:
        width = self.stage("prior").hparams["embedding"]
        if module.cond_dim != width:
            raise UserError(
                f"{self.run / name} was trained on embeddings of width {module.cond_dim} but the"
                f" prior samples width {width}; train both on the same embeddings"
            )


def read(modality: str, value: Any) -> Any:
    """Return a signal as it is, or read it from the file or caption that `value` names."""
    return MEDIA[modality].read(value) if isinstance(value, str | Path) else value


def options_for(modality: str, guidance: float | None = None, steps: int | None = None) -> Any:
    """Return a modality's sampling options with what the caller asked for, where it applies."""
    known = {field.name for field in dataclasses.fields(OPTIONS[modality])}
    asked = {"guidance": guidance, "steps": steps}
    changes = {name: x for name, x in asked.items() if x is not None and name in known}
    return dataclasses.replace(OPTIONS[modality], **changes)


def stage_seeds(seeds: Sequence[int], stage: str) -> list[int]:
    """Return seeds of one stage: with equal ones, prior and generators would share their noise."""
    number = list(STAGES).index(stage)
    return mix(torch.tensor(list(seeds), dtype=torch.int64), number).tolist()


def _warn_of_unused(options: Mapping[str, Any], steps: int | None) -> None:
    if steps is not None and not any(hasattr(option, "steps") for option in options.values()):
        warnings.warn(f"steps {steps} changes nothing: text is not sampled in steps", stacklevel=3)


def batch_of_one(signal: Any) -> Any:
    """Return a signal as a batch: a tensor with one more axis, or a list."""
    return signal[None].float() if isinstance(signal, Tensor) else [signal]


def _join(parts: list[Any]) -> Any:
    return torch.cat(parts) if isinstance(parts[0], Tensor) else [x for part in parts for x in part]
