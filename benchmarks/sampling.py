"""Ways of sampling one run's models, side by side: agreement with the source, and coverage.

    python -m benchmarks.sampling --run runs/quickstart --modality video --settings guidance=1

A setting joins its changes by plus: --settings guidance=1.5+low=0+high=1+steps=10 solver=heun.

Every row takes the same sources, seeds and readers; the i-th sample comes from one of the three
other modalities in turn. The readers' split is the default: its handwriting and voices are new to
the generators, and no test number is spent on the choice. The readers have seen its signals, so
compare rows with one another only.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from core.cli import command, plain_options
from core.errors import UserError
from core.noise import mix
from core.sampling import FlowOptions
from multimodal.evaluate import draw_tuples
from multimodal.metrics import frechet_distance, matches, mean, precision_recall
from multimodal.prior import SPREAD
from multimodal.readers import Reader, load_readers, restrict
from multimodal.report_baselines import markdown_head
from multimodal.tuples import MODALITIES, Tuples, pick
from multimodal.unison import Unison, stage_seeds

Solver = Literal["euler", "heun", "dpm++"]
NUMBERS = {"steps": int, "guidance": float, "shift": float, "low": float, "high": float,
           "spread": float}  # fmt: skip
COLUMNS = ("agrees with its source", "precision", "recall", "Fréchet distance", "s a sample")


def sampling(
    run: Path,
    modality: Literal["image", "audio", "video"],
    settings: tuple[str, ...],
    split: Literal["readers", "val"] = "readers",
    n: int = 250,
    seed: int = 0,
) -> None:
    """Sample under each setting and print a table.

    Args:
        run: Folder of `make quickstart`.
        modality: Whose generator.
        settings: One a row: changes to the defaults, joined by plus, of steps, guidance, low and
            high (the guidance interval), shift, solver, and spread (the prior's).
        split: Where sources and real signals come from.
        n: Samples a row.
        seed: Draws the sources and everything that is generated.
    """
    rows = {text: parse(text) for text in settings}  # a wrong one is told before the first is run
    if not rows:
        raise UserError("no settings were named; give some after --settings, such as guidance=2")
    real = draw_tuples(run / "world" / split, n, seed)
    unison, reader = Unison(run), restrict(load_readers(run / "readers"), real)[modality]
    print(markdown_head(["setting", *COLUMNS]))
    for text, (options, spread) in rows.items():
        numbers = measured(unison, reader, real, modality, options, spread, n, seed)
        print(f"| {text} | {' | '.join(f'{x:.3f}' for x in numbers)} |", flush=True)


def parse(text: str) -> tuple[FlowOptions, float]:
    """Return the options that a setting names, and the prior's spread."""
    changes: dict[str, Any] = {}
    for part in text.split("+"):
        name, _, value = part.partition("=")
        if name == "solver" and value in get_args(Solver):
            changes[name] = value
        elif name in NUMBERS and _is_a(NUMBERS[name], value):
            changes[name] = NUMBERS[name](value)
        else:
            raise UserError(
                f"{part!r} in the setting {text!r} is not understood; write name=value with one of"
                f" {', '.join(NUMBERS)}, or solver={'|'.join(get_args(Solver))}"
            )
    spread = changes.pop("spread", SPREAD)
    low, high = FlowOptions().interval
    interval = (changes.pop("low", low), changes.pop("high", high))
    return replace(FlowOptions(), **changes, interval=interval), spread


def measured(
    unison: Unison,
    reader: Reader,
    real: Tuples,
    modality: str,
    options: FlowOptions,
    spread: float,
    n: int,
    seed: int,
) -> tuple[float, ...]:
    """Return agreement, precision, recall, Fréchet distance and seconds a sample."""
    seeds = mix(seed, 0, torch.arange(n)).tolist()
    others = [source for source in MODALITIES if source != modality]
    begin = time.perf_counter()
    drawn: list[Float[Tensor, "R E"]] = []
    for i, source in enumerate(others):
        rows = range(i, n, len(others))
        embedded = unison.embed({source: pick(real.signals[source], rows)})
        completed = unison.stage("prior").generate(
            embedded, seeds=stage_seeds(pick(seeds, rows), "prior"), spread=spread
        )
        drawn.append(completed[modality])
    told = torch.stack([drawn[i % len(others)][i // len(others)] for i in range(n)])
    made = unison.decode(modality, told, options, seeds=seeds)
    seconds = time.perf_counter() - begin
    right = _right(reader, made, real, modality, others, n)
    shown, seen = reader.features(made), reader.features(pick(real.signals[modality], range(n)))
    return (mean(right), *precision_recall(seen, shown), frechet_distance(seen, shown), seconds / n)


def _right(
    reader: Reader, made: Any, real: Tuples, modality: str, others: list[str], n: int
) -> Bool[Tensor, "N"]:
    """Whether each sample shows all that its source tells and its modality carries."""
    read, right = reader.predict(made), torch.zeros(n, dtype=torch.bool)
    truth = {factor: labels[:n] for factor, labels in real.truth.items()}
    for i, source in enumerate(others):
        factors = [f for f in real.carried[source] if f in real.carried[modality]]
        right[i :: len(others)] = matches(read, truth, factors)[i :: len(others)]
    return right


def _is_a(kind: type, value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    command(sampling, plain_options(sys.argv[1:], lists=("--settings",)))
