"""What tuning gains on questions with one right answer, and what the model forgets meanwhile.

    python -m benchmarks.tuning --init runs/text/last.ckpt --corpus data/shakespeare_char \
        --out runs/tuning

A language model is tuned on the same questions in each way of `WAYS`, with each seed. Right is an
answer that is the expected one to the letter, the likeliest token taken each time, on questions
that no training holds. Forgetting is the rise of the loss on all of the corpus' validation split.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from core.cli import command, plain_options
from core.errors import UserError
from core.files import new_file

CONFIG = "configs/text/chat.yaml"
MUON = ("--model.optim.rule=core.optim.Muon", "--model.optim.rule.matrix_lr=0.01",
        "--model.optim.rule.other.lr=0.002")  # fmt: skip
LORA = ("--model.optim.rule=core.optim.AdamW", "--model.optim.rule.lr=0.005",
        "--model.lora.rank=8")  # fmt: skip
WAYS: dict[str, tuple[str, ...]] = {
    "full": (*MUON, "--data.replay.share=0"),
    "full, a quarter replayed": (*MUON, "--data.replay.share=0.25"),
    "LoRA of rank 8": (*LORA, "--data.replay.share=0"),
    "LoRA of rank 8, a quarter replayed": (*LORA, "--data.replay.share=0.25"),
}
"""Way of tuning -> its options."""
BEFORE = "before"
Result = dict[str, float]
"""Loss on the corpus, weights that learn, and the share of right answers: of all, and of a kind."""


def tuning(
    init: Path,
    corpus: Path,
    out: Path,
    seeds: list[int],
    ways: list[str] | None = None,
    steps: int = 400,
    questions: int = 8000,
) -> None:
    """Tune in each way with each seed, ask, and print a table; what is done is not done again.

    Args:
        init: Checkpoint of a language model, with the special tokens of a chat.
        corpus: Token shards that it was trained on.
        out: Folder of the questions, the runs and results.json.
        seeds: Seeds of the runs, after one another.
        ways: Ways to tune; all by default.
        steps: Steps a run.
        questions: Questions to learn from; 500 others are asked.
    """
    chosen = list(WAYS) if ways is None else ways
    if unknown := [way for way in chosen if way not in WAYS]:
        raise UserError(f"{unknown[0]!r} is no way of tuning; there are {', '.join(WAYS)}")
    _questions(out, init, questions)
    results: dict[str, list[Result]] = defaultdict(list)
    for seed in seeds:
        for way in chosen:
            run = out / f"{list(WAYS).index(way)}_{seed}"
            if not (run / "result.json").exists():
                _tune(run, init, corpus, out, WAYS[way], seed, steps)
                _note(run / "result.json", _measured(run / "last.ckpt", out, _losses(run)[-1]))
            results[way].append(json.loads((run / "result.json").read_text()))
    first = out / f"{list(WAYS).index(chosen[0])}_{seeds[0]}"
    results = {BEFORE: [_measured(init, out, _losses(first)[0])], **results}
    _note(out / "results.json", results)
    print(table(results))


def table(results: dict[str, list[Result]]) -> str:
    """Return the means over seeds, with the deviation of two columns, as Markdown."""
    kinds = [name for name in results[BEFORE][0] if name not in ("loss", "weights", "right")]
    head = ["tuning", "seeds", "weights that learn", "right", *kinds, "loss on the corpus"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for way, rows in results.items():
        means = {name: statistics.mean(row[name] for row in rows) for name in rows[0]}
        shown = " | ".join(f"{means[kind]:.2f}" for kind in kinds)
        lines.append(
            f"| {way} | {len(rows)} | {means['weights']:,.0f} | {_spread(rows, 'right')} | {shown} "
            f"| {_spread(rows, 'loss')} |"
        )
    return "\n".join(lines)


def _spread(rows: list[Result], name: str) -> str:
    values = [row[name] for row in rows]
    more = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{more}"


def _questions(out: Path, init: Path, count: int) -> None:
    """Write questions and the rows to learn from."""
    from text.conversations import conversations
    from text.tasks import tasks

    if not (out / "questions").exists():
        tasks(out / "questions", train=count)
    if not (out / "chat").exists():
        conversations(out / "questions" / "train.jsonl", str(init), out / "chat")


def _tune(
    run: Path, init: Path, corpus: Path, out: Path, options: tuple[str, ...], seed: int, steps: int
) -> None:
    words = [
        f"--config={CONFIG}", f"--init={init}", f"--out={run}", f"--data.root={out / 'chat'}",
        f"--data.replay.root={corpus}", *options, f"--seed_everything={seed}", "--samples=0",
        f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={steps}",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "text.tune", *words], env=environment, check=False)
    if done.returncode:
        raise UserError(f"tuning into {run} failed; its own message says why")


def _losses(run: Path) -> list[float]:
    """Return the losses on the corpus that a run has logged."""
    with (run / "metrics.csv").open(newline="") as file:
        found = [row["val_pretraining/loss"] for row in csv.DictReader(file)]
    return [float(value) for value in found if value]


def _measured(checkpoint: Path, out: Path, loss: float) -> Result:
    """Ask the questions, and count the right answers."""
    from core.checkpoint import load_module
    from text.answers import answers
    from text.chat_template import read_line
    from text.module import TextModule
    from text.tasks import KINDS

    module = load_module(checkpoint, TextModule)
    lines = (out / "questions" / "test.jsonl").read_bytes().splitlines()
    asked = [read_line(line) for line in lines]
    given = answers(module.net, module.codec.tokenizer, [talk[:-1] for talk in asked])
    right: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for talk, answer in zip(asked, given, strict=True):
        right[talk[0].content.split()[0]].append(answer == talk[-1].content)
    weights = sum(p.numel() for p in module.parameters() if p.requires_grad)
    every = [one for found in right.values() for one in found]
    shares = {kind: statistics.mean(found) for kind, found in right.items()}
    return {"loss": loss, "weights": weights, "right": statistics.mean(every), **shares}


def _note(path: Path, value: Any) -> None:
    with new_file(path) as file:
        file.write_text(json.dumps(value, indent=1))


if __name__ == "__main__":
    command(tuning, plain_options(sys.argv[1:], lists=("--seeds",)))
