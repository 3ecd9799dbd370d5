"""What every training run leaves behind beside its checkpoints: progress and samples."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.utilities import rank_zero_only

from core.ema import PowerEMA
from core.files import new_file
from core.sharding import is_sharded


class Progress(L.Callback):
    """Writes `progress.json` about twice a second, for whoever watches from outside."""

    def __init__(self, folder: Path, interval: float = 0.5):
        self.path, self.interval = folder / "progress.json", interval
        self.due = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Write step, total and loss."""
        now = time.monotonic()
        if now >= self.due or trainer.global_step == trainer.max_steps:
            self.due = now + self.interval
            loss = float(outputs["loss"]) if isinstance(outputs, dict) else None
            state = {"step": trainer.global_step, "total": trainer.max_steps, "loss": loss}
            _write_json(self.path, state)


class Samples(L.Callback):
    """Lets the module write samples of its averaged weights into `samples/`, a few times a run.

    Sharded weights are no rank's own: there all ranks draw the same samples, and the first one's
    are kept.
    """

    def __init__(self, folder: Path, times: int, ema: PowerEMA):
        self.folder, self.times, self.ema = folder / "samples", times, ema

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write samples when one of the run's equal parts is complete."""
        if not self.times:
            return
        every = max(1, trainer.max_steps // self.times)
        write = getattr(pl_module, "write_samples", None)
        takes_part = trainer.is_global_zero or is_sharded(pl_module)
        if write is None or trainer.global_step % every or not takes_part:
            return
        if is_sharded(pl_module):
            batch = trainer.strategy.broadcast(move_data_to_device(batch, "cpu"))
            batch = move_data_to_device(batch, pl_module.device)
        pl_module.eval()
        self.ema.swap(pl_module)
        with torch.no_grad(), self._place(trainer) as folder:
            write(folder / f"{trainer.global_step:06d}", batch)
        self.ema.swap(pl_module)
        pl_module.train()

    @contextmanager
    def _place(self, trainer: L.Trainer) -> Iterator[Path]:
        """Yield the folder to write into; of all ranks but the first it is one that goes away."""
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield self.folder
        else:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder)


@rank_zero_only
def _write_json(path: Path, value: dict[str, Any]) -> None:
    with new_file(path) as file:
        file.write_text(json.dumps(value, indent=1))
