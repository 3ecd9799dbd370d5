"""Mean and spread of the headlines over runs that differ in their seed.

make quickstart OUT=runs/seed1 SEED=1
python -m multimodal.compare --runs runs/quickstart runs/seed1
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.cli import command, plain_options
from core.errors import UserError
from core.files import existing_file
from multimodal.scores import spread

SAME = ("split", "dataset", "n", "preset")
"""What reports must share, or their numbers do not belong in one row."""


def compare(runs: list[Path]) -> None:
    """Print a table: mean, standard deviation and each run's value of every headline.

    Args:
        runs: Folders with report.json, two or more.
    """
    reports = load_alike(runs)
    print(f"| number | mean | deviation | {' | '.join(run.name for run in runs)} |")
    print(f"|{'---|' * (3 + len(runs))}")
    for name, row in spread(reports).items():
        values = (row["mean"], row["sd"], *row["values"])
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |")


def load_alike(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the reports of runs whose numbers belong in one row."""
    if len(runs) < 2:
        raise UserError(f"{len(runs)} run has no spread; name two or more after --runs")
    reports = [load_report(run) for run in runs]
    for key in SAME:
        found = [report.get(key) for report in reports]
        if len(set(found)) > 1:
            listed = ", ".join(f"{run}: {value}" for run, value in zip(runs, found, strict=True))
            raise UserError(f"the runs differ in {key} ({listed}); compare like with like")
    return reports


def load_report(run: Path) -> dict[str, Any]:
    """Return a run's report, if it is of this version."""
    report = json.loads(existing_file(run / "report.json").read_text(encoding="utf-8"))
    if "one_to_rest" not in report:
        raise UserError(
            f"{run}/report.json is of an older version; measure it again with: "
            f"python -m multimodal.evaluate --run {run} --split {report.get('split', 'test')}"
        )
    return report


if __name__ == "__main__":
    command(compare, plain_options(sys.argv[1:], lists=("--runs",)))
