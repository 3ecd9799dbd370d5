"""Measure a language model on tasks of lm-evaluation-harness (the extra `harness`).

    python -m text.harness --checkpoint runs/text/last.ckpt --tasks lambada_openai hellaswag
    python -m text.harness --checkpoint gpt2.ckpt --folder my_tasks --out results.json

A folder's tasks are YAML files as the harness describes them; their data may be JSON lines.
"""

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.checkpoint import load_module
from core.cli import command, plain_options
from core.errors import UserError
from core.files import new_file
from text.module import TextModule

RESAMPLED = 1000
"""Times that questions are drawn anew for the error of a mean that has no formula."""


def harness(
    checkpoint: Path,
    tasks: tuple[str, ...] = (),
    folder: Path | None = None,
    shots: int | None = None,
    limit: int | None = None,
    batch: int = 16,
    device: str = "cpu",
    out: Path | None = None,
) -> None:
    """Print the table of results that lm-evaluation-harness makes of a checkpoint.

    Args:
        checkpoint: A text model's last.ckpt, or what `python -m text.convert` wrote.
        tasks: Names of tasks; by default all in the folder.
        folder: Tasks of your own, as YAML files.
        shots: Examples before each question; by default as the task says.
        limit: Questions of a task at most, to try things out.
        batch: Texts that are read side by side.
        device: Where to compute: cpu, cuda, cuda:1.
        out: File to write the results to, as JSON.
    """
    if find_spec("lm_eval") is None:
        raise UserError(
            "tasks need the package lm-eval, which is not installed; run: pip install lm-eval"
        )
    module = load_module(checkpoint, TextModule).to(device)
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.utils import make_table

    from text.harness_model import HarnessModel

    manager = _manager(tasks, folder)
    results = simple_evaluate(
        HarnessModel(module, batch),
        tasks=_known(tasks, manager),
        num_fewshot=shots,
        limit=limit,
        task_manager=manager,
        bootstrap_iters=RESAMPLED,
    )
    assert results is not None, "only ranks above 0 have none"
    print(make_table(results))
    if out is not None:
        _write(results, out)


def _manager(tasks: tuple[str, ...], folder: Path | None) -> Any:
    """Return who knows the tasks: those of the folder, and unless they do, all there are."""
    from lm_eval.tasks import TaskManager

    if folder is not None and not folder.is_dir():
        raise UserError(f"{folder} is no folder; give one with tasks as YAML files")
    own = TaskManager(include_path=folder, include_defaults=False)
    # To look through the thousands that come with the harness takes many seconds.
    return own if set(tasks) <= set(own.all_tasks) else TaskManager(include_path=folder)


def _known(tasks: tuple[str, ...], manager: Any) -> list[Any]:
    """Return the names of tasks, all if none are given, once they are found."""
    wanted = list(tasks) or sorted(manager.all_subtasks)
    unknown = [name for name in tasks if name not in manager.all_tasks]
    if unknown:
        raise UserError(
            f"there is no task {unknown[0]}; list them with: python -m lm_eval ls tasks, or give"
            " the --folder of your own"
        )
    if not wanted:
        raise UserError("there is nothing to measure; name --tasks, or a --folder with some")
    return wanted


def _write(results: Mapping[str, Any], out: Path) -> None:
    """Write what was measured, and by which settings."""
    kept = {name: results[name] for name in ("results", "configs", "n-shot", "n-samples")}
    with new_file(out) as partial:
        text = json.dumps(kept, indent=1, default=str, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    command(harness, plain_options(sys.argv[1:], lists=("--tasks",)))
