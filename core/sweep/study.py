"""The study of a sweep in Optuna's storage: which trials there are, whose they are, what came out.

Imported where Optuna is needed. Several workers, commands and machines share one study. A trial
keeps its number from its first start to its end: one whose worker was killed goes back into the
queue, and whoever takes it next goes on with its folder.
"""

import fcntl
import os
import re
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from core.errors import UserError
from core.sweep.draws import SURPLUS, counted, distribution, place, sampling
from core.sweep.plan import Plan, Search

GRACE = 600.0
"""Seconds without a sign of life after which a worker on another machine counts as dead; more than
the patience with a trainer that saves."""
BEAT = 10.0
"""Seconds between signs of life."""


def pruning(search: Search) -> BasePruner:
    """Return what gives trials up; never at their first validation, which is mostly warm-up."""
    match search.pruner:
        case "median":
            return MedianPruner(n_startup_trials=search.startup, n_warmup_steps=2)
        case "hyperband":
            return HyperbandPruner()
        case _:
            return NopPruner()


def open_storage(url: str) -> RDBStorage:
    """Open or make a study's database, by the URL of SQLAlchemy."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # Several processes write into one file: they wait for each other.
    more = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    try:
        return RDBStorage(url, engine_kwargs=more)
    except (SQLAlchemyError, ImportError, RuntimeError, optuna.exceptions.OptunaError) as error:
        shown = re.sub(r"//([^:/@]*):[^@]*@", r"//\1:***@", url)
        raise UserError(
            f"storage {shown!r} cannot be opened ({str(error).splitlines()[0]});"
            " write a URL such as sqlite:///runs/study.db"
        ) from None


def database(url: str) -> Path | None:
    """Return the file of an SQLite database, or nothing if it is a server's."""
    found = re.match(r"sqlite(\+\w+)?:///([^?]+)", url)
    return Path(found[2]) if found else None


class Ledger:
    """A study, and what this process does in it."""

    def __init__(self, plan: Plan, url: str, name: str):
        """Open the study of that name in a database, or begin it.

        Raises:
            ValueError: if it was begun with another trainer, option, space and so on.
        """
        self.plan, self.name, self.me = plan, name, _me()
        file = database(url)
        self.lock = (file or plan.out / "study").with_suffix(".lock")
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        self.local = file is not None
        self.threads = threading.Lock()
        self.beats: dict[int, float] = {}
        with self._alone():
            self.storage = open_storage(url)
            self.study = optuna.create_study(
                storage=self.storage,
                study_name=name,
                direction=plan.objective.direction,
                sampler=sampling(plan.search, plan.space),
                pruner=pruning(plan.search),
                load_if_exists=True,
            )
            self.id = self._agree(plan.identity())

    def _agree(self, identity: Mapping[str, Any]) -> str:
        """Return the study's own id, after checking that it is the same search."""
        stored = self.study.user_attrs
        if "identity" not in stored:
            self.study.set_user_attr("id", uuid.uuid4().hex)
            self.study.set_user_attr("identity", dict(identity))
            stored = self.study.user_attrs
        for key, value in identity.items():
            if stored["identity"].get(key) != value:
                raise UserError(
                    f"study {self.name!r} was begun with {key} {stored['identity'].get(key)}, not"
                    f" {value}; choose another --study and --out, or the {key} it was begun with"
                )
        return stored["id"]

    def trials(self) -> list[FrozenTrial]:
        """Return the plan's trials, by number."""
        return counted(self.study)[: self.plan.count]

    def done(self) -> int:
        """Return how many trials have come to their end."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def take(self) -> Trial | None:
        """Take an interrupted trial or a new one; nothing if all are taken."""
        with self._alone():
            self._release_lost()
            trials = self.trials()
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            if len(trials) == self.plan.count and not waiting:
                return None
            space = {name: distribution(values) for name, values in self.plan.space.items()}
            trial = self.study.ask(space)
            if place(self.study, self.frozen(trial)) >= self.plan.count:
                trial.set_user_attr(SURPLUS, True)
                self.study.tell(trial, state=TrialState.FAIL)
                return None
            trial.set_user_attr("owner", self.me)
            self.beat(trial)
            return trial

    def frozen(self, trial: Trial) -> FrozenTrial:
        """Return what the storage knows of a trial."""
        return self.storage.get_trial(trial._trial_id)

    def complete(self, trial: Trial, value: float) -> None:
        """Write down what a trial reached."""
        self.study.tell(trial, value, skip_if_finished=True)

    def prune(self, trial: Trial) -> None:
        """Write down that a trial was given up; its value is the last it reported."""
        self.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)

    def fail(self, trial: Trial, line: str) -> None:
        """Write down why a trial came to nothing."""
        trial.set_user_attr("error", line)
        self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    def release(self, trial: Trial) -> None:
        """Put an interrupted trial back, for whoever takes it next."""
        self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def beat(self, trial: Trial) -> bool:
        """Show that a trial's worker lives; tell whether the trial is still its own.

        A machine that slept longer than `GRACE` may find that another took its trial over.
        """
        now = time.time()
        if now < self.beats.get(trial.number, 0.0) + BEAT:
            return True
        self.beats[trial.number] = now
        known = self.frozen(trial)
        if known.state.is_finished() or known.user_attrs["owner"] != self.me:
            return False
        trial.set_user_attr("beat", now)
        return True

    def forget(self) -> bool:
        """Delete a study from which nothing has come yet; tell whether it was one."""
        trials = self.trials()
        empty = not any(t.state.is_finished() or t.intermediate_values for t in trials)
        if empty:
            optuna.delete_study(study_name=self.name, storage=self.storage)
        return empty

    def _release_lost(self) -> None:
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and self._is_lost(trial):
                self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get("owner")
        if owner is not None and owner["host"] == socket.gethostname():
            return not _lives(owner)
        if owner is None and self.local:
            return True  # killed before it said whose it is: we hold the lock, so none is about to
        begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return time.time() > trial.user_attrs.get("beat", begun) + GRACE

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and, on this machine, other commands out."""
        with self.threads, self.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _me() -> dict[str, Any]:
    started = psutil.Process().create_time()
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": started}


def _lives(owner: Mapping[str, Any]) -> bool:
    """Tell whether a process of this machine is the one that took a trial."""
    try:
        # Clocks are set now and then, and with them what the system says of when it began.
        return abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 10
    except psutil.NoSuchProcess:
        return False
