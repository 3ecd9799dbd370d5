"""Metrics as one CSV file that a resumed run goes on with."""

import csv
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from core.files import new_file


class CSVLog(Logger):
    """Writes `metrics.csv`, a row a step; what an interrupted run logged after its checkpoint goes.

    Lightning's own logger deletes the file of the run that is resumed.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.path = folder / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}
        self.held = False

    @property
    def name(self) -> str:
        """Return the logger's name."""
        return "csv"

    @property
    def version(self) -> str:
        """Return nothing: a run has one log."""
        return ""

    def take_up(self, step: int) -> None:
        """Read what was logged up to a step, to go on from it once training begins.

        A run that is refused until then leaves the file as it is.
        """
        self.held = True
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                kept = (row for row in csv.DictReader(file) if int(row["step"]) <= step)
                self.rows = {int(r["step"]): {k: v for k, v in r.items() if v} for r in kept}

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to the row of a step."""
        row = self.rows.setdefault(step or 0, {"step": step or 0})
        row.update({k: v for k, v in metrics.items() if k != "epoch"})

    @rank_zero_only
    def save(self) -> None:
        """Write the file."""
        if self.held:
            return
        names = dict.fromkeys(name for row in self.rows.values() for name in row)
        with new_file(self.path) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(names) or ["step"])
            writer.writeheader()
            writer.writerows(self.rows[step] for step in sorted(self.rows))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the file a last time."""
        self.save()


class LogFirst(L.Callback):
    """Writes the rows up to a checkpoint's step before the checkpoint.

    Lightning logs a step after the hook in which it is saved, so a kill in between would lose it.
    """

    def __init__(self, csv: CSVLog):
        self.csv = csv

    def on_train_start(self, *_: Any) -> None:
        """Let the file be written from here on."""
        self.csv.held = False

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Log what this step has logged so far; it will come again, and be the same."""
        connector = trainer._logger_connector
        if trainer.training and connector.should_update_logs:
            row = {name: float(value) for name, value in connector.metrics["log"].items()}
            self.csv.log_metrics(row, trainer.fit_loop.epoch_loop._batches_that_stepped)
        self.csv.save()
