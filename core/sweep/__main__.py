"""Search over the options of any trainer; every trial is a training run of its own.

    python -m core.sweep --trainer image.train --config A.yaml --space B.yaml --trials 30

The same command goes on with an interrupted sweep, on as many machines as share its storage.
Into the folder go trials/<number>/ (the runs), trials.csv, best.yaml and plots.
"""

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from core.cli import command
from core.configs import find_config
from core.errors import UserError
from core.files import new_file
from core.sweep.plan import Direction, Objective, Plan, Pruner, Sampler, Search, with_dashes
from core.sweep.space import read_space
from core.sweep.trial import Recipe

LISTS = {"--config": "--configs", "--options": "--options"}
"""What may have several words -> the parameter; the parser keeps the name config for itself."""


def sweep(
    trainer: str,
    space: Path,
    configs: tuple[Path, ...] = (),
    options: tuple[str, ...] = (),
    out: Path = Path("runs/sweep"),
    trials: int | None = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = "median",
    startup: int = 5,
    objective: str = "val/loss",
    direction: Direction = "minimize",
    judged: Literal["last", "best"] = "last",
    workers: int = 1,
    seed: int = 0,
    storage: str | None = None,
    study: str | None = None,
) -> None:
    """Search over a trainer's options, and write what was found; the same command goes on.

    Args:
        trainer: Any training command: image.train, multimodal.train_prior, ...
        space: YAML file: option -> {low, high, log, points}, {type: int, low, high, step} or
            {choices: [...]}.
        configs: Configurations of the trainer (--config each), composed from left to right.
        options: Overrides that all trials share, such as trainer.max_steps=300.
        out: Folder of the sweep.
        trials: How many; by default 20, or the whole grid.
        sampler: Every combination, chance, or TPE (a model of where good trials lie).
        pruner: Ends trials that fall behind the median of others at the same validation, or of
            their bracket (Hyperband).
        startup: Trials that TPE draws by chance, and that end before the median prunes.
        objective: Column of metrics.csv.
        direction: Whether a low or a high objective is good.
        judged: Which of a trial's values counts.
        workers: Trials side by side; each has its share of the cores, and one of several GPUs.
        seed: Of the sampler; that of training stays what the configuration says.
        storage: Database of the study, as URL; by default study.db in the folder.
        study: Name of the study in the database; by default that of the folder.
    """
    plan = Plan(
        Recipe(
            trainer, tuple(str(find_config(c)) for c in configs), tuple(map(with_dashes, options))
        ),
        read_space(find_config(space)),
        Objective(objective, direction, judged),
        Search(sampler, pruner, startup, seed),
        out,
        trials,
    )
    if workers < 1:
        raise UserError(f"workers is {workers} but must be at least 1")
    _check_optuna()
    run(plan, workers, storage or f"sqlite:///{out}/study.db", study or out.resolve().name)


def run(plan: Plan, workers: int, storage: str, study: str) -> None:
    """Run what is left of a plan's trials, and write the report.

    Raises:
        ValueError: if study or folder belong to another sweep, or a trial says that the trainer's
            options are wrong before any trial took a step.
        SystemExit: with the shell's code, after a signal.
    """
    from core.sweep.report import write_report
    from core.sweep.study import Ledger
    from core.sweep.workers import Workers

    plan.out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(plan, storage, study)
    crew = Workers(ledger, plan, workers)
    owner = plan.out / "study.txt"
    _claim(owner, ledger.id)
    try:
        crew.run()
    except (ValueError, RuntimeError):
        if ledger.forget():
            owner.unlink()
        raise
    write_report(ledger.study, ledger.trials(), plan)
    if crew.signal is not None:
        print("stopped by a signal; the same command goes on", file=sys.stderr)
        raise SystemExit(128 + crew.signal)


def _claim(path: Path, study: str) -> None:
    """Write whose trials a folder holds, or raise if they are another study's."""
    if path.is_file() and path.read_text() != study:
        raise UserError(f"{path.parent} holds the trials of another study; choose another --out")
    with new_file(path) as file:
        file.write_text(study)


def arguments(argv: Sequence[str]) -> list[str]:
    """Gather repeated --config and the words behind --options into lists.

    A word behind --options may keep its dashes: no option of the sweep itself has a dot.
    """
    words, rest, lists = list(argv), [], {name: [] for name in LISTS.values()}
    while words:
        name, equals, value = words.pop(0).partition("=")
        if name not in LISTS:
            rest.append(name + equals + value)
            continue
        values = [value] if equals else []
        while words and (not words[0].startswith("--") or "." in words[0].partition("=")[0]):
            values.append(words.pop(0))
        lists[LISTS[name]] += values
    return [*rest, *(f"{name}={json.dumps(values)}" for name, values in lists.items() if values)]


def _check_optuna() -> None:
    if find_spec("optuna") is None:
        raise UserError(
            "a sweep needs the package optuna, which is not installed; run: pip install optuna"
        )


if __name__ == "__main__":
    command(sweep, arguments(sys.argv[1:]))
