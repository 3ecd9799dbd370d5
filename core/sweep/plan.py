"""What a sweep is to do, checked before anything runs, and what makes it the same sweep again."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.files import existing_file
from core.sweep.space import RESERVED, Space, combinations, plain
from core.sweep.trial import Recipe

Direction = Literal["minimize", "maximize"]
Sampler = Literal["grid", "random", "tpe"]
Pruner = Literal["none", "median", "hyperband"]
BETTER = {"minimize": min, "maximize": max}
TRIALS = 20
"""How many trials where nothing else says so."""


@dataclass(frozen=True)
class Objective:
    """The figure by which trials are compared."""

    column: str
    """Name in metrics.csv."""
    direction: Direction
    judged: Literal["last", "best"]
    """Which of a run's values counts."""

    def of(self, values: Sequence[float]) -> float:
        """Return a run's figure."""
        return values[-1] if self.judged == "last" else BETTER[self.direction](values)


@dataclass(frozen=True)
class Search:
    """How trials are drawn, and given up."""

    sampler: Sampler
    pruner: Pruner
    startup: int
    """Trials that TPE draws by chance, and that end before the median prunes."""
    seed: int
    """Of the sampler."""

    def __post_init__(self):
        if self.startup < 1:
            raise UserError(f"startup is {self.startup} but must be at least 1")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed} but must be 0 or more")


@dataclass(frozen=True)
class Plan:
    """A trainer, what is searched, by which figure, how and how often."""

    recipe: Recipe
    space: Space
    objective: Objective
    search: Search
    out: Path
    trials: int | None = None
    """None for the whole grid, or `TRIALS`."""

    def __post_init__(self):
        _check_trainer(self.recipe.trainer)
        for config in self.recipe.configs:
            existing_file(config)
        for option in self.recipe.options:
            _check_option(option, self.space)
        if self.trials is not None and self.trials < 1:
            raise UserError(f"trials is {self.trials} but must be at least 1")
        if self.search.sampler == "grid" and self.count > len(combinations(self.space)):
            raise UserError(
                f"trials is {self.trials} but the grid has {len(combinations(self.space))}"
                " combinations; leave --trials out"
            )

    @property
    def count(self) -> int:
        """How many trials."""
        if self.search.sampler == "grid":
            return self.trials or len(combinations(self.space))
        return self.trials or TRIALS

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a study to go on; configurations by their content."""
        told = {
            "trainer": self.recipe.trainer,
            "config": {path: _digest(path) for path in self.recipe.configs},
            "options": self.recipe.options,
            "space": plain(self.space),
            "objective": dataclasses.asdict(self.objective),
            "sampler": self.search.sampler,
            "seed": self.search.seed,
        }
        return json.loads(json.dumps(told))


def with_dashes(option: str) -> str:
    """Return an override of the trainer with its dashes, which may be left out."""
    name, equals, _ = option.removeprefix("--").partition("=")
    if not equals or not name:
        raise UserError(f"option {option!r} must be name=value, such as trainer.max_steps=300")
    return f"--{option.removeprefix('--')}"


def _check_option(option: str, space: Space) -> None:
    name = option.removeprefix("--").partition("=")[0]
    if name in RESERVED:
        raise UserError(f"option {name} is given to each trial by the sweep; leave it out")
    if name in space:
        raise UserError(f"option {name} is fixed and in the space; leave it out of one of them")


def _check_trainer(name: str) -> None:
    """Raise unless `python -m name` finds something; the package is not imported for it."""
    package, *rest = name.split(".")
    spec = find_spec(package) if package else None
    folders = [Path(f, *rest) for f in (spec.submodule_search_locations or ())] if spec else []
    if not any(f.with_suffix(".py").is_file() or (f / "__main__.py").is_file() for f in folders):
        raise UserError(
            f"trainer {name!r} is no module here; name a training command, such as image.train"
        )


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
