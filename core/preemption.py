"""Leave politely: a signal saves the run and ends it.

SIGTERM and SIGUSR1 are what schedulers send before they kill, SIGINT is Ctrl-C, SIGHUP a terminal
that was closed. A second Ctrl-C leaves at once.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment

from core.saving import Saver, validation_follows

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
ONE_PRESS = 0.3
"""Seconds in which two SIGINT are one Ctrl-C: `timeout` sends it to a process and to its group."""


class Stopped(SystemExit):
    """The run was saved and left; its code is the shell's: 128 and the signal's number."""


class StopOnSignal(L.Callback):
    """Saves after the optimiser step in which a signal came, and ends the process.

    Several ranks agree on the step and the signal, whichever of them the scheduler told.
    """

    def __init__(self, saver: Saver):
        self.saver = saver
        self.received: int | None = None
        self.at = 0.0
        self.begun = False
        self.step = -1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Leave at once on Ctrl-C until training begins, then save; at the end, be as before."""
        with signals_given_back():
            if threading.current_thread() is threading.main_thread():  # no other may
                signal.signal(signal.SIGINT, self._note)
            yield

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen in place of the Trainer, which would leave without saving."""
        self.step, self.begun = trainer.global_step, True
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # nohup lets a run outlive its terminal
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        if number != signal.SIGINT:
            self.received = self.received or number
        elif not self.begun:
            self._leave_now("before the first step")
        elif self.received != number:
            self.received, self.at = number, time.monotonic()
            _tell("stopping: the run is saved after this step; Ctrl-C again leaves at once")
        elif time.monotonic() - self.at > ONE_PRESS:
            self._leave_now(f"after step {self.step} without saving")

    def _leave_now(self, when: str) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the next one ends even what hangs
        _tell(f"interrupted {when}{self._way_on()}")
        raise Stopped(128 + signal.SIGINT)

    def _way_on(self) -> str:
        return f"; go on with --resume {self.saver.path}" if self.saver.path.exists() else ""

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
                with suppress(OSError):  # the terminal or whoever reads may be gone
                    print(
                        f"stopped by {number.name} after step {self.step}{self._way_on()}",
                        flush=True,
                    )
            raise Stopped(128 + number)


def _tell(line: str) -> None:
    """Write to stderr from a signal's handler, which may have come in the midst of a print."""
    with suppress(OSError):
        os.write(2, f"\n{line}\n".encode())


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
