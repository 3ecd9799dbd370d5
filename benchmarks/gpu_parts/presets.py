"""Train a preset by its own command for a few hundred steps and measure how fast it goes."""

import csv
import importlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from core.energy import peak_memory_mb
from core.module import TrainedModule
from core.train_cli import TrainCLI
from text.throughput import utilisation

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
TRAINERS: dict[str, tuple[str, str]] = {
    "text.train": ("text.module.TextModule", "text.data.TextData"),
    "text.tune": ("text.module.TextModule", "text.chat_data.ChatData"),
    "image.train": ("image.module.ImageModule", "image.data.ImageData"),
    "audio.train": ("audio.module.AudioModule", "audio.data.AudioData"),
    "audio.train_vocoder": ("audio.vocoder_module.VocoderModule", "audio.data.AudioData"),
    "video.train": ("video.module.VideoModule", "video.data.VideoData"),
    "multimodal.train": ("multimodal.alignment.AlignmentModule", "multimodal.data.PairedData"),
    "multimodal.train_prior": ("multimodal.prior.PriorModule", "multimodal.data.EmbeddedData"),
}
"""Training command -> the module and the data that it trains."""
ROOTS = {
    "text/shakespeare_char_gpu": "char", "text/shakespeare_bpe_gpu": "bpe",
    "text/corpus_124m_gpu": "corpus", "text/chat_gpu": "chat",
    "multimodal/prior_world_gpu": "embeddings",
}  # fmt: skip
"""Preset -> its folder of the made data; the others take the paired world."""
CONDITIONED = ("text/world_gpu", "image/world_gpu", "audio/world_gpu", "video/world_gpu")
BASE, TUNED = "text/corpus_124m_gpu", "text/chat_gpu"


@dataclass(frozen=True)
class Job:
    """One training run of a preset."""

    preset: str
    data: Path
    out: Path
    steps: int = 300
    seconds: float = 25.0
    """The run ends after so many measured seconds, at whatever step."""
    warmup: int = 20
    """Steps that are not measured: compilation, caches, clocks."""
    smoke: bool = False
    options: tuple[tuple[str, str], ...] = ()
    """Further options, as `("--trainer.deterministic", "true")`."""
    count: bool = True
    """Count operations in the first batch, where kernels may then be others than usual."""
    kill_at: int | None = None
    """Step after which the process kills itself, as a power cut would."""


def presets() -> list[str]:
    """Return the names of all presets for one GPU, as `image/world_gpu`."""
    found = sorted(CONFIGS.glob("*/*_gpu.yaml"))
    names = [str(path.relative_to(CONFIGS).with_suffix("")) for path in found]
    return sorted(names, key=lambda name: (name != BASE, name != TUNED))


def header(preset: str) -> str:
    """Return the training command that a preset's first line names."""
    return (CONFIGS / f"{preset}.yaml").read_text().split()[3]


def train_preset(job: Job) -> dict[str, Any]:
    """Train a preset and return its numbers; they are None where they cannot be known."""
    if job.smoke:
        torch.set_num_threads(1)
    module, data = (_named(name) for name in TRAINERS[header(job.preset)])
    probe = Probe(job)
    MeasuredCLI(module, data, command_line(job), probe)
    return probe.numbers() | _losses(job.out / "metrics.csv")


def command_line(job: Job) -> list[str]:
    """Return the options of a preset's training command, each of them once."""
    words = [f"--config={CONFIGS / job.preset}.yaml"]
    words += [f"--config={CONFIGS / 'smoke.yaml'}"] if job.smoke else []
    options = {
        "--out": str(job.out),
        "--data.root": str(job.data / ROOTS.get(job.preset, "world")),
        "--trainer.max_steps": str(job.steps),
        "--save_every": str(job.steps),
        "--samples": "0",
        "--trainer.val_check_interval": "1000000000",
        "--trainer.limit_val_batches": "1",
        "--trainer.log_every_n_steps": "1" if job.smoke else "5",
    }
    if job.preset in CONDITIONED:
        options["--data.embeddings"] = str(job.data / "embeddings")
    if job.smoke:
        options |= _shrink(job.preset)
    return [*words, *(f"{name}={value}" for name, value in (options | dict(job.options)).items())]


def compiles(preset: str) -> bool:
    """Tell whether a preset compiles its network."""
    return bool(_model_of(preset).get("compile"))


def _shrink(preset: str) -> dict[str, str]:
    """Return options that make a step of a preset small enough for a CPU."""
    model = _model_of(preset)
    options = {"--model.compile": "false"} if compiles(preset) else {}
    if "towers" in model or "vocoder" in preset:
        return options
    net = "--model.model.net" if "net" in model.get("model", {}) else "--model.model"
    net = "--model.net" if "net" in model else net
    options |= {f"{net}.width": "32", f"{net}.depth": "1", f"{net}.heads": "2"}
    if preset.startswith("text") and "world" not in preset:
        options["--model.model.context"] = "64"
    return options


def _model_of(preset: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / f"{preset}.yaml").read_text())["model"]


class MeasuredCLI(TrainCLI):
    """A training command with one callback more."""

    def __init__(self, module: type[TrainedModule], data: type, argv: list[str], probe: "Probe"):
        self.probe = probe
        super().__init__(module, data, argv)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Let the probe see each step before anything is saved."""
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks.insert(0, self.probe)  # pyright: ignore[reportAttributeAccessIssue]
        return trainer


class Probe(L.Callback):
    """Counts operations of the first batch and times the steps after the warm-up."""

    def __init__(self, job: Job):
        self.job = job
        self.flops_per_sample: float | None = None
        self.counter: FlopCounterMode | None = None
        self.begin = self.end = 0.0
        self.samples = self.first_step = self.last_step = 0
        self.module: TrainedModule | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the operations of the first batch, unless the model knows them."""
        assert isinstance(pl_module, TrainedModule)
        if self.module is None:
            self.module = pl_module
            rates = pl_module.rates(1.0)
            if "flops_per_token" in rates:
                self.flops_per_sample = rates["flops_per_token"] * rates["tokens_per_second"]
            elif self.job.count:
                self.counter = FlopCounterMode(display=False)
                self.counter.__enter__()

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop counting: what the optimiser multiplies is not the model's work."""
        if self.counter is not None:
            self.counter.__exit__(None, None, None)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Take the time, and end the run when its time is over."""
        step, count = trainer.global_step, len(batch["index"])
        if self.counter is not None:
            self.flops_per_sample = self.counter.get_total_flops() / count
            self.counter = None
        if self.job.kill_at is not None and step >= self.job.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step < min(self.job.warmup, self.job.steps - 1):
            return
        if not self.begin:
            self.begin = _now(pl_module.device)
            self.first_step = step
            return
        self.samples += count
        late = time.perf_counter() - self.begin > self.job.seconds
        if late or step == self.job.steps:
            self.end, self.last_step = _now(pl_module.device), step
            trainer.should_stop = late or trainer.should_stop

    def numbers(self) -> dict[str, Any]:
        """Return rates, memory and the share of the device's arithmetic that is put to use."""
        assert self.module is not None, "no step was taken"
        spent = self.end - self.begin
        rate = self.samples / spent if spent > 0 and self.samples else None
        device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
        used = None
        if rate is not None and self.flops_per_sample is not None:
            used = utilisation(rate * self.flops_per_sample, device)
        on_gpu = device.type == "cuda"
        return {
            "steps": self.last_step,
            "measured_seconds": round(spent, 3),
            "samples_per_second": rate,
            "tokens_per_second": rate and self.module.rates(rate).get("tokens_per_second"),
            "flops_per_sample": self.flops_per_sample,
            "mfu": used,
            "peak_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20) if on_gpu
            else round(peak_memory_mb()),
            "parameters": sum(p.numel() for p in self.module.parameters()),
        }  # fmt: skip


def _now(device: torch.device) -> float:
    """Return the time at which the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _losses(metrics: Path) -> dict[str, Any]:
    """Return the first and the last training loss that was logged."""
    with metrics.open(newline="") as file:
        found = [row.get("train/loss") for row in csv.DictReader(file)]
    losses = [float(value) for value in found if value]
    return {"loss_start": losses[0], "loss_end": losses[-1]} if losses else {}


def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
