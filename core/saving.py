"""Which checkpoints a run keeps: the last, the last of several, the best on validation."""

import math
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from core.errors import UserError
from core.files import discard, link

MONITOR = "val/loss"


class Saver(L.Callback):
    """Keeps `last.ckpt` current, `best.ckpt` at the lowest loss, and past ones in `steps/`.

    Its place is behind all callbacks that have a state: what it saves holds theirs.
    """

    def __init__(self, folder: Path, every: int, keep: int = 0):
        """Save into a folder.

        Args:
            every: Steps between checkpoints.
            keep: The last so many of them stay, as steps/<step>.ckpt.
        """
        for name, value, least in (("save_every", every, 1), ("keep", keep, 0)):
            if value < least:
                raise UserError(f"{name} is {value} but must be at least {least}")
        self.path, self.best_path = folder / "last.ckpt", folder / "best.ckpt"
        self.every, self.keep = every, keep
        self.saved, self.best = -1, math.inf

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remove what a killed run was still writing."""
        if trainer.is_global_zero:
            folder = self.path.parent
            for partial in (*folder.glob(".*.partial*"), *folder.glob("steps/.*.partial*")):
                discard(partial)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save when the step count says so."""
        if not validation_follows(trainer):
            self._save_due(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was due, and the best so far."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._save_best(trainer)
            self._save_due(trainer)

    def _save_due(self, trainer: L.Trainer) -> None:
        if trainer.global_step % self.every == 0:
            self.save(trainer)

    def _save_best(self, trainer: L.Trainer) -> None:
        if MONITOR not in trainer.callback_metrics:
            return
        loss = float(trainer.strategy.reduce(trainer.callback_metrics[MONITOR], reduce_op="mean"))
        if loss < self.best:
            self.best = loss
            trainer.save_checkpoint(self.best_path)

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save the finished run."""
        self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Save unless this very step was."""
        if trainer.global_step == self.saved:
            return
        self.saved = trainer.global_step
        trainer.save_checkpoint(self.path)
        if self.keep and trainer.is_global_zero:
            self._keep(self.path.parent / "steps" / f"{self.saved:08d}.ckpt")

    def _keep(self, path: Path) -> None:
        """Give the files a second name: the next ones that take the first leave them in place."""
        path.parent.mkdir(exist_ok=True)
        discard(path)
        link(self.path, path)
        for old in sorted(path.parent.glob("*.ckpt"))[: -self.keep]:
            discard(old)

    def state_dict(self) -> dict[str, Any]:
        """Return the loss to beat."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the loss to beat."""
        self.best = state_dict["best"]


def validation_follows(trainer: L.Trainer) -> bool:
    """Tell whether a validation ends this batch; a run resumed before it would leave it out."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
