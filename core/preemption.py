"""Leave politely: SIGTERM and SIGUSR1 save the run, as schedulers send them before they kill."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment

from core.saving import Saver, validation_follows

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(SystemExit):
    """The run was saved and left; its code is the shell's: 128 and the signal's number."""


class StopOnSignal(L.Callback):
    """Saves after the optimiser step in which a signal came, and ends the process.

    Several ranks agree on the step and the signal, whichever of them the scheduler told.
    """

    def __init__(self, saver: Saver):
        self.saver = saver
        self.received: int | None = None
        self.step = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen in place of the Trainer, which would leave without saving."""
        self.step = trainer.global_step
        if threading.current_thread() is threading.main_thread():  # no other may
            for number in SIGNALS:
                signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        self.received = number

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save and leave if a signal came."""
        if not validation_follows(trainer):
            self._leave_if_asked(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save and leave if a signal came."""
        if not trainer.sanity_checking:
            self._leave_if_asked(trainer)

    def _leave_if_asked(self, trainer: L.Trainer) -> None:
        if trainer.global_step == self.step:
            return  # gradients are still adding up, which no checkpoint holds
        self.step = trainer.global_step
        here = torch.tensor(float(self.received or 0), device=trainer.strategy.root_device)
        if anywhere := int(trainer.strategy.reduce(here, reduce_op="max")):
            number = signal.Signals(anywhere)
            self.saver.save(trainer)
            if trainer.is_global_zero:
                print(
                    f"stopped by {number.name} after step {self.step};"
                    f" go on with --resume {self.saver.path}",
                    flush=True,
                )
            raise Stopped(128 + number)


def environments() -> list[SLURMEnvironment]:
    """Return the Trainer's view of SLURM, if it runs there, without what it would do on a signal.

    It would write a checkpoint of its own, put the job back in the queue, and read that checkpoint
    in place of ours. Who puts a job back is the script that started it.
    """
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


@contextmanager
def signals_given_back() -> Iterator[None]:
    """Put the signals' handlers back after the block, whoever exchanged them."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
