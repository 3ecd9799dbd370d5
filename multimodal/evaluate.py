"""Measure a run: all sixteen directions, joint samples, recall of the real.

    python -m multimodal.evaluate --run runs/quickstart --split test

Writes <run>/evaluate/report.json with examples beside it, then <run>/report.json and report.html.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from core.cli import command
from core.files import new_file
from core.manifest import Manifest
from core.noise import mix
from multimodal.directions import Made, System, make, read
from multimodal.elsewhere import find_trials, try_files
from multimodal.examples import Examples, save_batches, save_examples
from multimodal.queries import measure_queries
from multimodal.readers import Reader, load_readers
from multimodal.scores import Results, score
from multimodal.space import measure_space
from multimodal.tuples import MODALITIES, Signals, Tuples, load_tuples, seen_positions, take

REFERENCE = 1000  # real samples that the readers' own accuracy is measured on, if there are so many
EXAMPLES = 3  # sources of each modality shown in the report: the first drawn, not the best
JOINT_EXAMPLES = 6


def evaluate(
    run: Path = Path("runs/quickstart"),
    world: Path | None = None,
    split: Literal["val", "test"] = "val",
    n: int = 250,
    seed: int = 0,
    queries: int = 100,
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
        queries: Sources of each kind of partial query; 0 leaves them out.
        files: Folder of other files to try, with what they show in its labels.json.
        device: Where to generate, as torch names it; `auto` takes a GPU if there is one.
    """
    from multimodal import load
    from multimodal.report import publish

    started = time.monotonic()
    world = run / "world" if world is None else world
    if queries < 0:
        raise ValueError(f"queries is {queries} but must be 0 (none) or more")
    if files is not None:
        find_trials(files)  # a wrong folder is told now, not after minutes
    readers, real = load_readers(run / "readers"), draw_tuples(world / split, n, seed)
    unison = load(str(run), device)
    report, examples = measure(unison, readers, real, n, seed)
    origin = {"split": split, "dataset": Manifest.load(world / split).dataset_id, "seed": seed}
    report = origin | report | {"evaluation_seconds": round(time.monotonic() - started, 1)}
    save_examples(run / "evaluate" / "examples", examples)
    if files is not None:
        trials, signals = try_files(unison, readers, files, seed)
        report["files"] = [asdict(trial) for trial in trials]
        save_batches(run / "evaluate" / "files", signals)
    if queries:
        report["queries"] = measure_queries(unison, readers, real, min(queries, n), seed)
    report["space"] = measure_space(unison, real)
    probes = run / "probes" / "probes.json"
    if probes.is_file():
        report["probes"] = json.loads(probes.read_text())
    with new_file(run / "evaluate" / "report.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    publish(run)


def draw_tuples(folder: Path, n: int, seed: int) -> Tuples:
    """Draw n sources, and behind them more real samples to measure readers and manifolds on."""
    if n < 4:
        raise ValueError(f"n is {n} but manifolds of features need 4 samples or more; raise --n")
    seen = seen_positions(folder)
    if len(seen) < n:
        raise ValueError(
            f"{folder} has {len(seen)} samples of seen combinations but n is {n}; lower --n"
        )
    order = torch.randperm(len(seen), generator=torch.Generator().manual_seed(seed))
    return load_tuples(folder, [seen[i] for i in order[: max(2 * n, REFERENCE)].tolist()])


def measure(
    system: System, readers: Mapping[str, Reader], real: Tuples, n: int, seed: int
) -> tuple[dict[str, Any], Examples]:
    """Generate from the first n real samples in all directions, and from nothing; score it all."""
    sources = take(real.signals, range(n))
    seeds = [mix(seed, stream, torch.arange(n)).tolist() for stream in range(5)]
    make(system, take(sources, range(2)), [0, 1])  # loads the models, so that no latency holds it
    made = {m: make(system, {m: sources[m]}, seeds[i]) for i, m in enumerate(MODALITIES)}
    joint = make(system, {}, seeds[4])
    results = Results(
        real=real,
        n=n,
        read=read(readers, real.signals),
        made={m: read(readers, x.signals) for m, x in made.items()},
        joint=read(readers, joint.signals),
    )
    report = score(results, {m: x.seconds for m, x in made.items()})
    return report, _examples(sources, made, joint)


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
