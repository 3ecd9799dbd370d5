"""Measure a run: all sixteen directions, joint samples, recall of the real.

    python -m multimodal.evaluate --run runs/quickstart --split test

Writes <run>/evaluate/report.json with examples beside it, then <run>/report.json and report.html.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from core.cli import command
from core.errors import UserError
from core.files import new_file
from core.manifest import Manifest
from core.noise import mix
from core.shards import ShardReader
from multimodal.agreement import SecondReaders, compare_readers, read_again
from multimodal.directions import Made, latencies, make, read
from multimodal.elsewhere import find_trials, try_files
from multimodal.examples import Examples, save_batches, save_examples
from multimodal.factors import LABELS
from multimodal.queries import measure_queries
from multimodal.readers import Reader, load_readers, restrict
from multimodal.scores import Results, all_directions, score, spread, summarise
from multimodal.second_readers import load_second_readers
from multimodal.space import measure_space
from multimodal.systems import System
from multimodal.tuples import (
    MODALITIES,
    Signals,
    Tuples,
    check_world_folder,
    load_tuples,
    positions,
    take,
)

TRAINED = 2000  # training signals among which the nearest is sought
REFERENCE = 1000  # real samples that the readers' own accuracy is measured on, if there are so many
EXAMPLES = 3  # sources of each modality shown in the report: the first drawn, not the best
JOINT_EXAMPLES = 6


def evaluate(
    run: Path = Path("runs/quickstart"),
    world: Path | None = None,
    split: Literal["val", "test"] = "val",
    n: int = 1000,
    seed: int = 0,
    seeds: int = 1,
    queries: int = 100,
    unseen: int = 100,
    files: Path | None = None,
    device: str = "auto",
) -> None:
    """Measure a run against a split of its world, and write report.json and report.html.

    Args:
        run: Folder with the stages' checkpoints and the readers.
        world: Folder that `python -m multimodal.shards world` wrote; by default the run's own.
        split: Validation while developing; test for what is reported.
        n: Sources a direction.
        seed: Draws the sources and everything that is generated.
        seeds: Repetitions of the matrix, joint samples and coverage, from `seed` on: their mean and
            spread go beside the first one's numbers.
        queries: Sources of each kind of partial query; 0 leaves them out.
        unseen: Sources a direction whose combination of factors training never saw; 0 leaves them
            out. Only the readers' and the test split hold such.
        files: Folder of other files to try, with what they show in its labels.json.
        device: Where to generate, as torch names it; `auto` takes a GPU if there is one.
    """
    from multimodal import load
    from multimodal.report import publish

    started = time.monotonic()
    world = run / "world" if world is None else world
    check_world_folder(world)
    for name, count, least in (("seeds", seeds, 1), ("queries", queries, 0), ("unseen", unseen, 0)):
        if count < least:
            raise UserError(f"{name} is {count} but must be {least} or more")
    if files is not None:
        find_trials(files)  # a wrong folder is told now, not after minutes
    readers, second = load_readers(run / "readers"), load_second_readers(run / "readers")
    real, unison = draw_tuples(world / split, n, seed), load(str(run), device)
    readers = restrict(readers, real)
    trained = training_features(readers, world / "train")
    report, examples = measure(unison, readers, real, n, seed, trained, second)
    for source, row in latencies(unison, real.signals).items():
        for target, seconds in row.items():
            report["directions"][f"{source}->{target}"]["latency_ms"] = round(1000 * seconds, 1)
    if seeds > 1:
        others = range(seed + 1, seed + seeds)
        more = [measure(unison, readers, draw_tuples(world / split, n, s), n, s)[0] for s in others]
        report["spread"] = spread([report, *more])
    origin = {"split": split, "dataset": Manifest.load(world / split).dataset_id, "seed": seed}
    report = origin | report | {"evaluation_seconds": round(time.monotonic() - started, 1)}
    save_examples(run / "evaluate" / "examples", examples)
    if files is not None:
        trials, signals = try_files(unison, readers, files, seed)
        report["files"] = [asdict(trial) for trial in trials]
        save_batches(run / "evaluate" / "files", signals)
    if queries:
        report["queries"] = measure_queries(unison, readers, real, min(queries, n), seed)
    if unseen and split == "test":
        held = draw_tuples(world / split, unseen, seed, held_out=True)
        report["composition"] = measure_directions(unison, readers, held, unseen, seed)
    report["space"] = measure_space(unison, real)
    probes = run / "probes" / "probes.json"
    if probes.is_file():
        report["probes"] = json.loads(probes.read_text())
    with new_file(run / "evaluate" / "report.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    publish(run)


def draw_tuples(folder: Path, n: int, seed: int, *, held_out: bool = False) -> Tuples:
    """Draw n sources, and behind them more real samples to measure readers and manifolds on.

    All are of combinations that training has seen, or all of those `held_out` from it.
    """
    if n < 4:
        raise UserError(f"n is {n} but manifolds of features need 4 samples or more; raise --n")
    rows = positions(folder, held_out=held_out)
    if len(rows) < n:
        kind = "held-out" if held_out else "seen"
        raise UserError(f"{folder} has {len(rows)} samples of {kind} combinations, but not {n}")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return load_tuples(folder, [rows[i] for i in order[: max(2 * n, REFERENCE)].tolist()])


def training_features(
    readers: Mapping[str, Reader], folder: Path
) -> dict[str, Float[Tensor, "T D"]]:
    """What the readers make of the first signals of the training split."""
    count = min(TRAINED, len(ShardReader(folder)))
    tuples = load_tuples(folder, range(count))
    return {m: readers[m].features(signal) for m, signal in tuples.signals.items()}


def measure(
    system: System,
    readers: Mapping[str, Reader],
    real: Tuples,
    n: int,
    seed: int,
    trained: Mapping[str, Float[Tensor, "T D"]] | None = None,
    second: SecondReaders | None = None,
) -> tuple[dict[str, Any], Examples]:
    """Generate from the first n real samples in all directions, and from nothing; score it all.

    With `second` readers, what they say goes beside it under "agreement".
    """
    sources = take(real.signals, range(n))
    make(system, take(sources, range(2)), [0, 1])  # loads the models, so that no latency holds it
    made = _from_each(system, sources, n, seed)
    joint = make(system, {}, mix(seed, 4, torch.arange(n)).tolist())
    results = Results(
        real=real,
        n=n,
        read=read(readers, real.signals),
        made={m: read(readers, x.signals) for m, x in made.items()},
        joint=read(readers, joint.signals),
        trained=trained or {},
    )
    report = score(results, {m: x.seconds for m, x in made.items()})
    if second is not None:
        signals = {m: x.signals for m, x in made.items()}
        again = read_again(results, second, signals, joint.signals)
        report["agreement"] = compare_readers(results, again)
    return report, _examples(sources, made, joint)


def measure_directions(
    system: System,
    readers: Mapping[str, Reader],
    real: Tuples,
    n: int,
    seed: int,
    factors: Sequence[str] = tuple(LABELS),
) -> dict[str, Any]:
    """Strict over reference in all directions, on these labels, and nothing else."""
    sources = take(real.signals, range(n))
    made = _from_each(system, sources, n, seed)
    results = Results(
        real=real,
        n=n,
        read=read(readers, real.signals),
        made={m: read(readers, x.signals) for m, x in made.items()},
        joint={},
        factors=factors,
    )
    directions = all_directions(results)
    return {"n": n, "directions": directions, "summary": summarise(directions)}


def _from_each(system: System, sources: Signals, n: int, seed: int) -> dict[str, Made]:
    seeds = [mix(seed, stream, torch.arange(n)).tolist() for stream in range(len(MODALITIES))]
    return {m: make(system, {m: sources[m]}, seeds[i]) for i, m in enumerate(MODALITIES)}


def _examples(sources: Signals, made: Mapping[str, Made], joint: Made) -> Examples:
    shown = range(min(EXAMPLES, len(sources["text"])))
    together = range(min(JOINT_EXAMPLES, len(sources["text"])))
    return Examples(
        sources=take(sources, shown),
        outputs={m: take(x.signals, shown) for m, x in made.items()},
        joint=take(joint.signals, together),
    )


if __name__ == "__main__":
    command(evaluate)
