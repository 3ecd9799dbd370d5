"""What a sweep found: trials.csv, best.yaml, plots, and a printed table with the next command."""

import csv
import shlex
from collections.abc import Sequence
from typing import Any

from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from core.files import new_file
from core.sweep.plan import Plan
from core.sweep.plots import best_of, draw_history, draw_importance, draw_slices
from core.sweep.space import to_yaml

LEAST = 6
"""Complete trials below which importances are chance."""
SHOWN = 5
"""Rows of the printed table."""


def write_report(study: Study, trials: Sequence[FrozenTrial], plan: Plan) -> None:
    """Write all files that these trials allow, and print what was found."""
    _write_table(trials, plan)
    best = best_of(trials, plan)
    if not best:
        print(f"no trial is complete yet; {plan.out}/trials.csv says what became of them")
        return
    _write_best(best[0], plan)
    draw_history(trials, plan, plan.out / "history.svg")
    draw_slices(trials, plan, plan.out / "slices.svg")
    shares = importances(study, best)
    if shares:
        draw_importance(
            shares, f"{plan.objective.column}, {len(best)} trials", plan.out / "importance.svg"
        )
    _print(best, trials, shares, plan)


def importances(study: Study, whole: Sequence[FrozenTrial]) -> dict[str, float]:
    """Return the share of the objective's variance that each option explains.

    Nothing if the trials cannot tell. Source: Hutter et al. 2014 (fANOVA).
    """
    different = len({trial.value for trial in whole}) > 1
    varied = [n for n in whole[0].params if len({str(t.params[n]) for t in whole}) > 1]
    if len(whole) < LEAST or not different or not varied:
        return {}
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), params=varied)


def command_of_best(plan: Plan) -> str:
    """Return the command that trains with the best values."""
    told = plan.recipe.command(plan.out / "best", str(plan.out / "best.yaml"))
    return shlex.join(["python", "-m", *told])


def _write_table(trials: Sequence[FrozenTrial], plan: Plan) -> None:
    names = ["number", "state", "value", "validations", "seconds", *plan.space, "error"]
    with new_file(plan.out / "trials.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(_row(trial) for trial in trials)


def _row(trial: FrozenTrial) -> dict[str, Any]:
    seconds = round(trial.duration.total_seconds(), 1) if trial.duration else None
    return {
        "number": trial.number,
        "state": _state(trial),
        "value": trial.value,
        "validations": len(trial.intermediate_values),
        "seconds": seconds,
        **trial.params,
        "error": trial.user_attrs.get("error"),
    }


def _state(trial: FrozenTrial) -> str:
    return "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()


def _write_best(best: FrozenTrial, plan: Plan) -> None:
    head = (
        f"# {plan.objective.column} {best.value:.6g}: trial {best.number} of {plan.count}\n"
        f"# {command_of_best(plan)}\n"
    )
    with new_file(plan.out / "best.yaml") as file:
        file.write_text(head + to_yaml(best.params))


def _print(
    best: Sequence[FrozenTrial],
    trials: Sequence[FrozenTrial],
    shares: dict[str, float],
    plan: Plan,
) -> None:
    states = [_state(trial) for trial in trials]
    print(", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)))
    rows = [("trial", plan.objective.column, *plan.space)]
    rows += [
        (str(t.number), f"{t.value:.6g}", *(_short(t.params[name]) for name in plan.space))
        for t in best[:SHOWN]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)))
    told = [f"{name} {share:.2f}" for name, share in shares.items()]
    few = f"unknown: it takes {LEAST} complete trials with different values, there are {len(best)}"
    print(f"importance over {len(best)} trials: {', '.join(told) or few}")
    print(f"train with the best: {command_of_best(plan)}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
