"""How a sweep draws its trials: the grid in order, at random, or by TPE; imported where Optuna is.

A study that is interrupted and resumed draws what it would have drawn: everything random is seeded
by (seed, number of the trial, option), not by how often a generator was asked before.
"""

import zlib
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from core.sweep.plan import Search
from core.sweep.space import Choices, Floats, Range, Space, Value, combinations

SURPLUS = "surplus"
"""Mark of a trial that another command's came before; it is not run."""


def distribution(values: Range) -> BaseDistribution:
    """Return Optuna's form of a range."""
    match values:
        case Floats():
            return FloatDistribution(values.low, values.high, log=values.log)
        case Choices():
            return CategoricalDistribution(values.choices)
        case _:
            return IntDistribution(values.low, values.high, log=values.log, step=values.step)


def sampling(search: Search, space: Space) -> BaseSampler:
    """Return the sampler of a sweep."""
    match search.sampler:
        case "grid":
            return Grid(combinations(space))
        case "random":
            return Seeded(search.seed, None)
        case _:
            return Seeded(search.seed, search.startup)


def counted(study: Study) -> list[FrozenTrial]:
    """Return the trials that count, by number.

    A pruner in brackets (Hyperband) hides other brackets' trials from `study.get_trials`.
    """
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    return [trial for trial in trials if SURPLUS not in trial.user_attrs]


def place(study: Study, trial: FrozenTrial) -> int:
    """Return how many trials of the study that count came before one."""
    return sum(before.number < trial.number for before in counted(study))


class Grid(BaseSampler):
    """The first trial takes the first combination, and so on."""

    def __init__(self, rows: list[dict[str, Value]]):
        self.rows = rows

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: options are looked up one by one."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Return the value of this trial's combination; a surplus trial has any."""
        return self.rows[place(study, trial) % len(self.rows)][param_name]


class Seeded(BaseSampler):
    """TPE (Bergstra et al. 2011), or pure chance, made anew for every draw."""

    def __init__(self, seed: int, startup: int | None):
        self.seed, self.startup = seed, startup

    def _of(self, trial: FrozenTrial, name: str = "") -> BaseSampler:
        told = [self.seed, trial.number, zlib.crc32(name.encode())]
        seed = int(np.random.SeedSequence(told).generate_state(1)[0])
        if self.startup is None:
            return RandomSampler(seed)
        return TPESampler(seed=seed, n_startup_trials=self.startup)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return what the sampler draws together."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw these together."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Draw one by itself."""
        drawn = self._of(trial, param_name)
        return drawn.sample_independent(study, trial, param_name, param_distribution)
