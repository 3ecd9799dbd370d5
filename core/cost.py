"""What a training run cost: time, energy, memory, and how many samples that bought."""

import json
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only

from core.energy import Meter
from core.files import new_file
from core.module import TrainedModule

SUMS = ("seconds", "cpu_seconds", "joules", "samples")
"""What a resumed run adds to; of the peak memory the larger stays."""


class Cost(L.Callback):
    """Writes `cost.json` at every save and at the end: all the run has cost, resumes included.

    Work that was lost in a kill is not in it. CPU-seconds, joules and samples are of all ranks.
    """

    def __init__(self, folder: Path):
        self.path = folder / "cost.json"
        self.samples, self.meter = 0, Meter()
        self.before: dict[str, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start counting, from what an interrupted run has written."""
        self.meter, self.samples = Meter(packages=trainer.local_rank == 0), 0
        resumed = trainer.global_step > 0 and self.path.is_file()
        self.before = json.loads(self.path.read_text()) if resumed else {}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count samples."""
        self.samples += len(batch["index"]) * trainer.world_size

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the bill so far beside the checkpoint, which must not depend on the time."""
        if trainer.training:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the bill."""
        self._write(trainer, pl_module)

    def _write(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        cost = self._so_far(trainer)
        rate = cost["samples"] / max(1e-9, cost["seconds"])
        cost["samples_per_second"] = round(rate, 2)
        if isinstance(module, TrainedModule):
            cost |= module.rates(rate)
        cost["parameters"] = sum(p.numel() for p in module.parameters())
        cost["steps"] = trainer.global_step
        _write_json(self.path, cost)

    def _so_far(self, trainer: L.Trainer) -> dict[str, Any]:
        cost = self.meter.read() | {"samples": self.samples}
        if trainer.world_size > 1:
            spent = torch.tensor(
                [cost["cpu_seconds"], cost["joules"]], device=trainer.strategy.root_device
            )
            total = trainer.strategy.reduce(spent, reduce_op="sum").tolist()
            cost |= {"cpu_seconds": round(total[0], 3), "joules": round(total[1], 1)}
        for name in SUMS:
            cost[name] = round(cost[name] + self.before.get(name, 0), 3)
        memory = "peak_memory_mb"
        return cost | {memory: max(cost[memory], self.before.get(memory, 0))}


@rank_zero_only
def _write_json(path: Path, value: dict[str, Any]) -> None:
    with new_file(path) as file:
        file.write_text(json.dumps(value, indent=1))
