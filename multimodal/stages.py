"""The stages of the quick start: what each runs, needs and reads."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.configs import ROOT

FILES = "tests/fixtures"
"""Files from elsewhere that a checkout has; what is installed comes without."""
Preset = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Stage:
    """One command of the quick start."""

    name: str
    """Its folder in the run."""
    arguments: tuple[str, ...]
    """What follows `python -m`."""
    needs: tuple[str, ...] = ()
    """Stages that must be done first."""
    packages: tuple[str, ...] = ("core", "multimodal")
    """Folders of code that its result depends on."""
    kind: Literal["data", "train", "measure"] = "train"
    """Training takes --out and can resume."""
    minutes: float = 0.0
    """Measured on two CPU cores, beside another stage unless alone."""
    alone: bool = False
    """Takes all cores: nothing runs beside it. For what everything else waits for."""

    @property
    def configs(self) -> tuple[Path, ...]:
        """The configuration files among the arguments."""
        return tuple(ROOT / a for a in self.arguments if a.endswith(".yaml"))

    def command(self, folder: Path, resume: bool) -> list[str]:
        """Return the whole command line, as it is shown."""
        more: list[str] = []
        if self.kind == "train":
            more = ["--out", str(folder)]
            if resume:
                more += ["--resume", str(folder / "last.ckpt")]
        return [sys.executable, "-m", *self.arguments, *more]

    def launched(self, folder: Path, resume: bool) -> list[str]:
        """Return the command line as it is run in any folder: our own files by their whole path."""
        ours = {*map(str, self.configs), str(ROOT / FILES)}
        words = self.command(folder, resume)
        return [str(ROOT / word) if str(ROOT / word) in ours else word for word in words]

    def key(self, keys: dict[str, str]) -> str:
        """Hash the arguments, configurations, code and needed stages: what the result rests on."""
        code = [p for package in self.packages for p in sorted((ROOT / package).glob("*.py"))]
        files = [*self.configs, ROOT / "configs" / "defaults.yaml", *code]
        content = {
            "arguments": self.arguments,
            "files": {str(f.relative_to(ROOT)): _sha256(f) for f in files},
            "needs": {need: keys[need] for need in self.needs},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def stages(
    run: Path, preset: Preset, smoke: bool, seed: int = 0, made_of: Sequence[str] = ()
) -> list[Stage]:
    """Return all stages, the most urgent first among those that could run at the same time.

    `seed` is that of everything trained; world, readers and evaluation stay the same. `made_of` are
    options of the world.
    """
    world, embeddings = run / "world", run / "embeddings"
    models = ("alignment", "prior", "text", "image", "audio", "video")
    all_code = ("core", "text", "image", "audio", "video", "multimodal")

    def train(module: str, config: str, *more: str, root: Path = world) -> tuple[str, ...]:
        suffix = "" if preset == "cpu" else "_gpu"
        overlay = ("--config", "configs/smoke.yaml") if smoke else ()
        config = f"configs/{config}{suffix}.yaml"
        seeded = ("--seed_everything", str(seed)) if seed else ()
        return (module, "--config", config, *overlay, *seeded, "--data.root", str(root), *more)

    def conditioned(name: str, *more: str) -> tuple[str, ...]:
        cond = ("--data.embeddings", str(embeddings))
        return train(f"{name}.train", f"{name}/world", *cond, *more)

    small = ("--train", "64", "--val", "16", "--test", "32", "--readers", "64") if smoke else ()
    few = ("--steps", "2") if smoke else ()
    files = ("--files", FILES) if (ROOT / FILES).is_dir() else ()
    from_image = ("--model.image_checkpoint", str(run / "image" / "last.ckpt"))
    vocoder = ("--model.vocoder", str(run / "vocoder" / "last.ckpt"))
    return [
        Stage("world", ("multimodal.shards", "world", "--out", str(world), *made_of, *small),
              kind="data", minutes=1.2, alone=True),
        Stage("alignment", train("multimodal.train", "multimodal/world"),
              needs=("world",), packages=all_code, minutes=3.7, alone=True),
        Stage("embeddings", ("multimodal.embed", "--alignment",
                             str(run / "alignment" / "last.ckpt"), "--source", str(world),
                             "--out", str(embeddings)),
              needs=("alignment",), packages=all_code, kind="data", minutes=0.6, alone=True),
        Stage("readers", ("multimodal.readers", "--world", str(world), "--out",
                          str(run / "readers"), *few),
              needs=("world",), kind="measure", minutes=1.9, alone=True),
        Stage("image", conditioned("image"), needs=("embeddings",),
              packages=("core", "image"), minutes=4.5),
        Stage("vocoder", train("audio.train_vocoder", "audio/vocoder_world"),
              needs=("world",), packages=("core", "audio"), minutes=0.9),
        Stage("audio", conditioned("audio", *vocoder), needs=("embeddings", "vocoder"),
              packages=("core", "audio"), minutes=5.0),
        Stage("video", conditioned("video", *from_image), needs=("embeddings", "image"),
              packages=("core", "video"), minutes=7.6),
        Stage("prior", train("multimodal.train_prior", "multimodal/prior_world", root=embeddings),
              needs=("embeddings",), packages=("core", "multimodal"), minutes=3.6),
        Stage("text", conditioned("text"), needs=("embeddings",),
              packages=("core", "text"), minutes=0.8),
        Stage("probes", ("multimodal.probes", "--embeddings", str(embeddings), "--world",
                         str(world), "--out", str(run / "probes" / "probes.json")),
              needs=("embeddings",), kind="measure", minutes=0.2),
        Stage("evaluate", ("multimodal.evaluate", "--run", str(run),
                           "--split", "test", "--n", "8" if smoke else "250",
                           "--queries", "4" if smoke else "20", "--unseen", "4" if smoke else "50",
                           *files),
              needs=(*models, "readers", "probes"), packages=all_code, kind="measure",
              minutes=2.7, alone=True),
    ]  # fmt: skip


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
