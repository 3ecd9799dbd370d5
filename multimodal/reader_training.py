"""Train the readers on their own split: a plain loop of a few hundred steps for each network."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor

from core.devices import usable_cores
from core.energy import Meter
from core.errors import UserError
from core.files import new_file
from core.manifest import Manifest
from multimodal.metrics import factor_accuracy, rank_correlation
from multimodal.readers import NETS, NetReader, Reader, load_readers
from multimodal.second_readers import load_second_readers, train_second_readers
from multimodal.tuples import Tuples, check_world_folder, load_tuples

STEPS = {"image": 500, "audio": 800, "video": 600}
"""Batches a reader; LOG.md says what fewer cost."""


@dataclass(frozen=True)
class ReaderTraining:
    """How each reader is trained."""

    steps: int = 250
    """Batches."""
    batch: int = 64
    """Signals a batch."""
    learning_rate: float = 3e-3
    """Peak of the one-cycle schedule."""
    decay: float = 0.05
    """Decoupled weight decay."""
    smoothing: float = 0.1
    """Share of the target spread over all labels."""

    def __post_init__(self):
        for name in ("steps", "batch", "learning_rate"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} is {getattr(self, name)} but must be positive")


def train_readers(
    world: Path = Path("data/world"),
    out: Path = Path("runs/quickstart/readers"),
    steps: int | None = None,
    seed: int = 0,
    jobs: int | None = None,
) -> None:
    """Train two readers a modality on <world>/readers, and measure them on <world>/val.

    Args:
        world: Folder that `python -m multimodal.shards world` wrote.
        out: Folder for the weights, readers.json and cost.json.
        steps: Batches of each network; by default as many as each needs.
        seed: Of weights, order and augmentation; the second readers draw nothing.
        jobs: Readers trained side by side, each on one core; by default as many as there are cores.
    """
    jobs = min(len(NETS) + 1, usable_cores()) if jobs is None else jobs
    if jobs < 1:
        raise UserError(f"jobs is {jobs} but at least 1 reader must be trained; leave it out")
    check_world_folder(world)
    meter = Meter()
    plans = {m: ReaderTraining(steps=STEPS[m] if steps is None else steps) for m in NETS}
    train = partial(_train_reader, world=world, out=out, plans=plans, seed=seed)
    tasks = [*(partial(train, m) for m in NETS), partial(train_second_readers, world, out)]
    if jobs == 1:
        parameters = sum(map(_call, tasks))
    else:  # one small network does not fill two cores, two do
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            parameters = sum(pool.map(_call, tasks))
    cost = meter.read() | {"parameters": parameters}
    _write_json(out / "cost.json", cost)
    real = load_tuples(world / "val")
    accuracy, second = measure(load_readers(out), real), measure_second(out, real)
    _write_json(
        out / "readers.json",
        {
            "trained_on": Manifest.load(world / "readers").dataset_id,
            "training": {modality: asdict(plan) for modality, plan in plans.items()},
            "seconds": cost["seconds"],
            "val": accuracy,
            "second": {"val": second},
        },
    )
    for kind, table in (("", accuracy), ("second ", second)):
        for modality, shares in table.items():
            said = " ".join(f"{factor} {share:.3f}" for factor, share in shares.items())
            print(f"{kind}{modality} {said}")


def _call(task: Callable[[], int]) -> int:
    return task()


def _train_reader(
    modality: str, world: Path, out: Path, plans: Mapping[str, ReaderTraining], seed: int
) -> int:
    """Train and save one reader on one core; return its parameters."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tuples, reader = load_tuples(world / "readers"), NETS[modality]()
    truth = {factor: tuples.truth[factor] for factor in tuples.carried[modality]}
    fit(reader, tuples.signals[modality], truth, plans[modality], seed, modality)
    with new_file(out / f"{modality}.safetensors") as path:
        save_file(reader.state_dict(), path)
    return sum(p.numel() for p in reader.parameters())


def fit(
    reader: NetReader,
    signal: Tensor,
    truth: Mapping[str, Int[Tensor, "B"]],
    training: ReaderTraining,
    seed: int,
    title: str,
) -> None:
    """Minimise the cross-entropy of the learned factors on augmented batches."""
    generator = torch.Generator().manual_seed(seed)
    prepared = torch.cat([reader.prepare(part) for part in signal.split(512)])
    optimiser = torch.optim.AdamW(
        reader.parameters(), training.learning_rate, weight_decay=training.decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.learning_rate, total_steps=training.steps + 1, pct_start=0.2
    )
    reader.train()
    for _ in track(range(training.steps), title, disable=not title):
        rows = torch.randint(len(prepared), (training.batch,), generator=generator)
        scores = reader.logits(reader.encode(reader.augment(prepared[rows], generator)))
        losses = [
            F.cross_entropy(score, truth[factor][rows], label_smoothing=training.smoothing)
            for factor, score in scores.items()
            if factor in truth
        ]
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    reader.eval()


def measure(readers: Mapping[str, Reader], tuples: Tuples) -> dict[str, dict[str, float]]:
    """Accuracy of every reader in every factor on real signals, and its size's rank correlation."""
    result = {}
    for modality, reader in readers.items():
        signal = tuples.signals[modality]
        shares = factor_accuracy(reader.predict(signal), tuples.truth, tuples.carried[modality])
        size = rank_correlation(reader.size(signal), tuples.size)
        result[modality] = {k: round(v, 4) for k, v in (shares | {"size": size}).items()}
    return result


def measure_second(folder: Path, tuples: Tuples) -> dict[str, dict[str, float]]:
    """Accuracy of every second reader in every factor on real signals."""
    result = {}
    for modality, reader in load_second_readers(folder).items():
        read = reader.predict(tuples.signals[modality])
        shares = factor_accuracy(read, tuples.truth, tuples.carried[modality])
        result[modality] = {factor: round(share, 4) for factor, share in shares.items()}
    return result


def _write_json(path: Path, value: Any) -> None:
    with new_file(path) as partial:
        partial.write_text(json.dumps(value, indent=1) + "\n")
