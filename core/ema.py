"""An exponential moving average of the weights whose horizon grows with the run.

Source: Karras et al. 2024 (EDM2), section 3.1 and eq. 8: the power form has no decay to tune.
"""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from core.sharding import rows_like


def power_decay(step: int, gamma: float = 6.94) -> float:
    """Return beta at a step (1 is the first): (1 - 1/step)^(gamma + 1).

    gamma = 6.94 gives a relative width of 0.10: about the last tenth of the run.
    """
    return (1 - 1 / step) ** (gamma + 1)


class PowerEMA(L.Callback):
    """Averages the trainable weights and validates with the average.

    A checkpoint names both sets: `state_dict` (raw, what training goes on with) and `ema`
    (trainable weights only; frozen ones and buffers are the same in both).
    """

    def __init__(self, gamma: float = 6.94):
        self.gamma = gamma
        self.average: dict[str, Tensor] = {}
        self.step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Follow the weights to their device, on which they are not yet when a run resumes."""
        self.average = {name: value.to(pl_module.device) for name, value in self.average.items()}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Fold the new weights in, once an optimiser step."""
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        self._update(pl_module)

    @torch.no_grad()
    def _update(self, module: L.LightningModule) -> None:
        weights = trainable(module)
        if self.average.keys() != weights.keys():
            self.average = {name: p.detach().clone() for name, p in weights.items()}
        beta = power_decay(self.step, self.gamma)
        torch._foreach_lerp_(list(self.average.values()), list(weights.values()), 1 - beta)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the average in place of the weights."""
        self.swap(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the weights back."""
        self.swap(pl_module)

    @torch.no_grad()
    def swap(self, module: L.LightningModule) -> None:
        """Exchange weights and average; a second call undoes the first."""
        for name, p in trainable(module).items():
            if name in self.average:
                held = p.detach().clone()
                p.copy_(self.average[name])
                self.average[name].copy_(held)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the average under its own name."""
        checkpoint["ema"] = {name: value.clone() for name, value in self.average.items()}
        checkpoint["ema_step"] = self.step

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the average up again on resume."""
        own, average = trainable(pl_module), checkpoint.get("ema", {})
        self.average = {name: rows_like(own.get(name), value) for name, value in average.items()}
        self.step = checkpoint.get("ema_step", 0)


def trainable(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that learn, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
