"""The workers of a sweep: each takes a trial, trains it in a process of its own, and judges it."""

import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from optuna.trial import Trial

from core.devices import usable_cores, visible_gpus
from core.errors import UserError
from core.sweep.plan import Plan
from core.sweep.study import Ledger
from core.sweep.trial import TOLD_TO_LEAVE, Run, columns, has_begun, launch, read_column

POLL = 0.5
"""Seconds between looks at a trial's metrics."""


def share(worker: int, workers: int) -> dict[str, str]:
    """Return the environment of a worker's trials: its share of the cores, one of several GPUs.

    A number of threads that the environment already has stays.
    """
    cores = str(max(1, usable_cores() // workers))
    shared = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", cores)}
    gpus = visible_gpus()
    if workers > 1 and len(gpus) > 1:
        shared["CUDA_VISIBLE_DEVICES"] = gpus[worker % len(gpus)]
    return shared


class Workers:
    """Threads that take trials until all are done."""

    def __init__(self, ledger: Ledger, plan: Plan, count: int):
        """Make ready.

        Args:
            count: Trials side by side.
        """
        self.ledger, self.plan, self.count = ledger, plan, count
        self.stopped = threading.Event()
        self.signal: int | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Run what is left of the trials, until all are done or something ends the sweep."""
        threads = [threading.Thread(target=self._work, args=(i,)) for i in range(self.count)]
        with self._listening():
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(POLL)  # in between, signals are heard
        if self.error is not None:
            raise self.error

    def _work(self, worker: int) -> None:
        try:
            while not self.stopped.is_set() and self.ledger.done() < self.plan.count:
                trial = self.ledger.take()
                if trial is None:
                    self.stopped.wait(POLL)  # the last ones are others', who may die
                else:
                    self._try(trial, worker)
        except Exception as error:  # raised again by the main thread
            self.error = self.error or error
            self.stopped.set()

    def _try(self, trial: Trial, worker: int) -> None:
        """Run a trial; whatever happens, it is finished or waits to be taken up again."""
        folder = self.plan.out.resolve() / "trials" / f"{trial.number:04d}"
        finished = False
        try:
            environment = share(worker, self.count)
            with launch(self.plan.recipe, trial.params, folder, environment) as run:
                finished = self._follow(trial, run)
        finally:
            if not finished:
                self.ledger.release(trial)

    def _follow(self, trial: Trial, run: Run) -> bool:
        """Watch a run to its end; tell whether this worker is done with the trial."""
        behind = False
        while run.process.poll() is None and not behind:
            if self.stopped.wait(POLL):
                return False
            if not self.ledger.beat(trial):
                self._say(trial, "was taken over by another machine")
                return True
            behind = self._report(trial, run)
        if behind:
            run.stop()
        code = run.process.returncode
        if behind and code:
            self.ledger.prune(trial)
            self._say(trial, f"pruned at {self._figures(run)}")
        elif code in TOLD_TO_LEAVE:  # by someone else, who wants an end of it
            self.note(signal.SIGTERM, None)
            return False
        else:
            self._settle(trial, run)
        return True

    def _report(self, trial: Trial, run: Run) -> bool:
        """Report the validations that are new; tell whether the pruner gives the trial up."""
        known = self.ledger.frozen(trial).intermediate_values
        values = enumerate(read_column(run.folder, self.plan.objective.column), 1)
        new = [(index, value) for index, value in values if index not in known]
        for index, value in new:
            trial.report(value, index)
        return bool(new) and bool(trial.should_prune())  # some pruners answer as numpy does

    def _settle(self, trial: Trial, run: Run) -> None:
        """Tell the study what came of a run that ended by itself."""
        if run.process.returncode:
            self._check_hope(run)
            return self._fail(trial, run.last_line())
        self._report(trial, run)
        goal = self.plan.objective
        values = read_column(run.folder, goal.column)
        if not values:
            raise UserError(
                f"metrics.csv of trial {trial.number} has no {goal.column!r};"
                f" choose --objective from: {', '.join(columns(run.folder))}"
            )
        if not math.isfinite(goal.of(values)):
            return self._fail(trial, f"{goal.column} is {goal.of(values)}")
        self.ledger.complete(trial, goal.of(values))
        return self._say(trial, self._figures(run))

    def _fail(self, trial: Trial, line: str) -> None:
        self.ledger.fail(trial, line)
        self._say(trial, f"failed: {line}")

    def _check_hope(self, run: Run) -> None:
        """Raise if no trial has taken a step yet, so that the others would fail alike."""
        if self.ledger.done() or any(map(has_begun, run.folder.parent.iterdir())):
            return
        code = run.process.returncode
        if code == 2:
            raise UserError(run.last_line())
        raise RuntimeError(
            f"the first trial ended with code {code}: {run.last_line()}; see {run.folder}/log.txt"
        )

    def _figures(self, run: Run) -> str:
        column = self.plan.objective.column
        values = read_column(run.folder, column)
        return f"{column} {self.plan.objective.of(values):.6g} after {len(values)} validations"

    def _say(self, trial: Trial, what: str) -> None:
        done = f"{self.ledger.done()} of {self.plan.count} done"
        print(f"trial {trial.number} ({done}): {what}", flush=True)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Let Ctrl-C and such end the sweep in order: trials save and wait to be taken up."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self.note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def note(self, number: int, _: FrameType | None) -> None:
        """Stop after a signal."""
        self.signal = number
        self.stopped.set()
