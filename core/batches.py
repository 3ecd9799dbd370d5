"""Whole batches as the items of a stock DataLoader, in an order that can start anywhere."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.distributed import DistributedSampler

from core.errors import UserError
from core.members import to_float
from core.order import epoch_order, evaluation_batches, training_batches
from core.samples import Selection


class Plan(NamedTuple):
    """One rank's batches of one epoch."""

    positions: Int64[np.ndarray, "batches B"]
    """Samples of each batch, by position in the dataset."""
    mask: Bool[np.ndarray, "batches B"] | None = None
    """False where a sample only pads; None in training, which pads nothing."""


@dataclass(frozen=True)
class Shuffled:
    """The plan of training: each epoch permuted anew, its tail dropped. It travels to workers."""

    usable: Int64[np.ndarray, " M"]
    """Positions of the samples that are trained on."""
    sizes: Sequence[int]
    """How many of them each shard holds."""
    seed: int
    window: int
    batch_size: int
    rank: int
    world: int

    def __call__(self, epoch: int) -> Plan:
        """Return one rank's batches of an epoch."""
        order = self.usable[epoch_order(self.sizes, self.seed, epoch, self.window)]
        return Plan(training_batches(order, self.batch_size, self.rank, self.world))


@dataclass(frozen=True)
class InOrder:
    """The plan of validation: the same in every epoch, each sample once."""

    usable: Int64[np.ndarray, " M"]
    batch_size: int
    rank: int
    world: int

    def __call__(self, epoch: int) -> Plan:
        """Return one rank's batches and which of their samples only pad."""
        count = len(self.usable)
        places, mask = evaluation_batches(count, self.batch_size, self.rank, self.world)
        return Plan(self.usable[places], mask)


class Place(NamedTuple):
    """Where an iteration stands: the batch of an epoch that comes next."""

    epoch: int
    batch: int


@dataclass(frozen=True)
class Failure:
    """What a worker sends in place of a batch: torch would bury the line in a traceback."""

    line: str


class Batches(Dataset):
    """A map-style dataset whose items are batches, addressed by `Place`."""

    def __init__(
        self, samples: Selection, plan: Callable[[int], Plan], partial_members: Mapping[str, str]
    ):
        """Join samples and plan.

        Args:
            plan: The batches of an epoch.
            partial_members: Fields that samples may lack, and the member each comes from.
        """
        self.samples, self.plan = samples, plan
        self.present = {name: samples.reader.has(m) for name, m in partial_members.items()}
        self._epoch, self._planned = 0, plan(0)

    def __len__(self) -> int:
        return len(self._planned.positions)

    def __getitem__(self, place: Place) -> "dict[str, Any] | Failure":
        try:
            return self.read(place)
        except UserError as error:
            if get_worker_info() is None:
                raise
            return Failure(str(error))

    def read(self, place: Place) -> dict[str, Any]:
        """Return one batch."""
        if place.epoch != self._epoch:
            self._epoch, self._planned = place.epoch, self.plan(place.epoch)
        wanted = self._planned.positions[place.batch]
        columns, found = self.samples.select(wanted)
        batch: dict[str, Any] = {
            name: to_float(column) if isinstance(column, Tensor) else column
            for name, column in columns.items()
        }
        batch |= {"index": torch.from_numpy(found), "epoch": torch.tensor(place.epoch)}
        if self._planned.mask is not None:
            batch["mask"] = torch.from_numpy(self._planned.mask[place.batch] & (found == wanted))
        if self.present:
            batch["present"] = {n: torch.from_numpy(has[found]) for n, has in self.present.items()}
        return batch


def real_samples(batch: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return an evaluation batch without its padding, and how many samples count.

    A batch that only pads, as a rank may have at the end, keeps a sample that counts for nothing.
    """
    mask = batch.get("mask")
    if mask is None or mask.all():
        return batch, len(batch["index"])
    kept = mask.nonzero().flatten() if mask.any() else torch.zeros(1, dtype=torch.long)
    return {name: _rows(value, kept) for name, value in batch.items()}, int(mask.sum())


def _rows(value: Any, kept: Int64[Tensor, " K"]) -> Any:
    if isinstance(value, dict):
        return {name: _rows(held, kept) for name, held in value.items()}
    if isinstance(value, list):
        return [value[i] for i in kept.tolist()]
    return value[kept.to(value.device)] if value.ndim else value


class PlaceSampler(DistributedSampler):
    """Names the places of an epoch from wherever `start` says that the iteration stands.

    It is a DistributedSampler only so that Lightning does not put its own in its place: the plan
    has shared the samples among ranks already.
    """

    def __init__(self, batches: Batches, start: Callable[[], Place]):
        super().__init__(batches, num_replicas=1, rank=0)
        self.batches, self.start = batches, start

    def __iter__(self) -> Iterator[Place]:
        epoch, first = self.start()
        return (Place(epoch, batch) for batch in range(first, len(self)))

    def __len__(self) -> int:
        """Batches of a whole epoch, also when an iteration goes on in the midst of one."""
        return len(self.batches)


class Loader(DataLoader):
    """A stock loader that raises in the training process what went wrong in a worker."""

    def __iter__(self) -> Iterator[Any]:
        for batch in super().__iter__():
            if isinstance(batch, Failure):
                raise UserError(batch.line)
            yield batch


def loader(batches: Batches, start: Callable[[], Place], workers: int) -> DataLoader:
    """Return the loader: batches arrive in order whatever the number of workers."""
    return Loader(
        batches,
        batch_size=None,
        sampler=PlaceSampler(batches, start),
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_it_to_the_parent,
    )


def _leave_it_to_the_parent(_: int) -> None:
    """Go on when Ctrl-C or a scheduler tells all processes: the run needs its batches to save."""
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
