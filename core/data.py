"""ShardData: shards as batches for Lightning, in a pure order that a resumed run takes up exactly.

The state counts batches *consumed* by the training loop, so it does not depend on workers that read
ahead, and a run resumed in mid-epoch sees exactly the rest of it.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from core.batches import Batches, InOrder, Place, Plan, Shuffled, loader
from core.errors import UserError
from core.manifest import Manifest
from core.samples import Fields, NoSamples, Samples, Selection, Sidecar
from core.shards import ShardReader
from core.storage import Remote, below


class ShardData(LightningDataModule):
    """Batches of one kind of sample; a subclass says which members it needs and how they decode.

    A batch is a dictionary of the decoded fields, with `index` Int64[B] (the samples' positions in
    the dataset) and `epoch` Int64[]; evaluation adds `mask` Bool[B] (False is padding), embeddings
    add `cond` Float[B E], partial samples add `present` (field -> Bool[B]).
    """

    members: ClassVar[Mapping[str, str]] = {}
    """Field of the batch -> the member it is decoded from."""
    partial: ClassVar[bool] = False
    """Whether samples may lack some of the members; else such samples are left out."""
    embedding: ClassVar[str | None] = None
    """The member of embedding shards that becomes `cond`."""

    def __init__(
        self,
        root: str,
        train: str = "train",
        val: str = "val",
        batch_size: int = 64,
        workers: int = 0,
        seed: int = 0,
        window: int = 4096,
        embeddings: str | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        cache: bool = True,
        remote: Remote = Remote(),
    ):
        """Take shards at `root`.

        Args:
            root: Folder that holds a folder of shards for each split, or its URL (s3://, gs://,
                hf://, https://).
            train: Split to train on.
            val: Split to validate on.
            batch_size: Samples a batch, on each rank.
            workers: Processes that read and decode; 0 does it in the training process.
            seed: Seed of the order.
            window: Samples permuted together, after whole shards were permuted.
            embeddings: Folder of embedding shards with the same splits; gives `cond`.
            on_error: What a damaged sample does: stop the run, or be replaced, counted and warned.
            cache: Keep decoded samples in memory (each worker its own).
            remote: How a URL is read.
        """
        super().__init__()
        _at_least(1, batch_size=batch_size, window=window)
        _at_least(0, workers=workers, seed=seed)
        self.root, self.splits = root, {"train": train, "val": val}
        self.batch_size, self.workers = batch_size, workers
        self.seed, self.window = seed, window
        self.embeddings = embeddings or None
        self.on_error: Literal["raise", "skip"] = on_error
        self.cache, self.remote = cache, remote
        self.place = Place(0, 0)
        self._samples: dict[str, Selection] = {}

    @staticmethod
    def embedding_dim(embeddings: str | None, split: str = "train") -> int:
        """Width of the embeddings in a folder of embedding shards; 0 without one."""
        if not embeddings:
            return 0
        return Manifest.load(below(embeddings, split)).fields["embedding_dim"]

    @classmethod
    def link(cls, config: Any) -> None:
        """Tell a training command's model what its data decides: the width of the embeddings."""
        data, model = config.data, config.model
        if "embedding" in model:
            model.embedding = cls.embedding_dim(data.root, data.train)
        if "cond_dim" in model:
            model.cond_dim = cls.embedding_dim(data.embeddings, data.train)

    @property
    def cond_dim(self) -> int:
        """Width of `cond`; 0 without embeddings."""
        return self.embedding_dim(self.embeddings, self.splits["train"])

    @cached_property
    def dataset_id(self) -> str:
        """Hash of what is trained on: the samples, and the embeddings if there are any."""
        folders = [folder for folder in (self.root, self.embeddings) if folder]
        return "+".join(Manifest.load(below(f, self.splits["train"])).dataset_id for f in folders)

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode one sample's members: a string, or a tensor of fixed shape, a field.

        Bytes (uint8) and 16-bit samples (int16) are kept as such and become floats in [-1, 1] in
        the batch.
        """
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader:
        """Batches of the training split, from where training stands."""
        batches = self._training(self._size_of_batch(), self._rank, self._world)
        return loader(batches, lambda: self._next_place(len(batches)), self.workers)

    def first_batches(self, count: int) -> list[dict[str, Any]]:
        """Return the first global batches of the first epoch, the same on every rank."""
        batches = self._training(self._size_of_batch() * self._world, rank=0, world=1)
        return [batches.read(Place(0, i)) for i in range(min(count, len(batches)))]

    def _training(self, batch_size: int, rank: int, world: int) -> Batches:
        """One rank's share of the training split."""
        samples = self._open("train")
        plan = self.plan(samples, batch_size, rank, world)
        return Batches(samples, plan, self._partial_members)

    def _size_of_batch(self) -> int:
        """Return a rank's batch: what was asked for, or all samples of a smaller dataset."""
        samples = self._open("train")
        fitting = len(samples.usable) // self._world
        if fitting >= self.batch_size:
            return self.batch_size
        if not fitting:
            raise UserError(
                f"{samples.reader.folder} has {len(samples.usable)} usable samples but each of "
                f"{self._world} processes needs one; add data or use fewer"
            )
        warnings.warn(
            f"{samples.reader.folder} has {len(samples.usable)} usable samples, fewer than "
            f"--data.batch_size {self.batch_size} on each of {self._world} processes: a batch "
            f"takes {fitting}",
            stacklevel=2,
        )
        return fitting

    def plan(
        self, samples: Selection, batch_size: int, rank: int, world: int
    ) -> Callable[[int], Plan]:
        """Return the order of training: one rank's batches of each epoch."""
        return Shuffled(
            samples.usable, samples.sizes, self.seed, self.window, batch_size, rank, world
        )

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Batches of the validation split in order, each sample once; none where it has none.

        A modality that few samples have may be missing from a small split.
        """
        try:
            samples = self._open("val")
        except NoSamples as missing:
            warnings.warn(f"{missing}; nothing is validated", stacklevel=2)
            return []
        plan = InOrder(samples.usable, self.batch_size, self._rank, self._world)
        batches = Batches(samples, plan, self._partial_members)
        return loader(batches, lambda: Place(0, 0), self.workers)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker needs, which decodes by this object: neither Trainer nor readers."""
        return self.__dict__ | {"trainer": None, "_samples": {}}

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> Any:
        """Count a batch of training as the training loop takes it."""
        if self.trainer and self.trainer.training:
            epoch = int(batch["epoch"])
            consumed = self.place.batch if epoch == self.place.epoch else 0
            self.place = Place(epoch, consumed + 1)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return where training stands, and the order that this refers to."""
        return self._order() | {
            "epoch": self.place.epoch,
            "batches_consumed": self.place.batch,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where an earlier run on the same data stood."""
        self.check_order(state_dict)
        self.place = Place(state_dict["epoch"], state_dict["batches_consumed"])

    def check_order(self, state_dict: Mapping[str, Any]) -> None:
        """Raise unless an earlier run's order is this one's."""
        for name, here in self._order().items():
            if state_dict[name] != here:
                raise UserError(
                    f"cannot resume: the checkpoint's {name} is {state_dict[name]} but this run's "
                    f"is {here}; resume with the same, or start a new run with --init"
                )

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _global_batch(self) -> int:
        return self.batch_size * self._world

    @property
    def _partial_members(self) -> Mapping[str, str]:
        return self.members if self.partial else {}

    def _order(self) -> dict[str, Any]:
        """What an epoch's order depends on."""
        return {
            "dataset_id": self.dataset_id,
            "seed": self.seed,
            "window": self.window,
            "global_batch": self._global_batch,
        }

    def _next_place(self, batches: int) -> Place:
        """Return the state's place, or the start of the next epoch if one has ended."""
        limit = self.trainer.limit_train_batches if self.trainer else 1.0
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        return self.place if self.place.batch < batches else Place(self.place.epoch + 1, 0)

    def _open(self, split: Literal["train", "val"]) -> Selection:
        if split not in self._samples:
            reader = ShardReader(below(self.root, self.splits[split]), remote=self.remote)
            self._samples[split] = self.samples_of(reader, split)
        return self._samples[split]

    def samples_of(self, reader: ShardReader, split: Literal["train", "val"]) -> Selection:
        """Return what batches are made of: the decoded samples of a dataset."""
        samples = Samples(
            reader,
            self.members.values(),
            self.decode,
            partial=self.partial,
            sidecar=self._sidecar(reader, self.splits[split]),
            keep=self.cache,
            on_error=self.on_error,
        )
        _check_embedded(samples)
        return samples

    def _sidecar(self, reader: ShardReader, split: str) -> Sidecar | None:
        """Open the embeddings of a split; they must be those of its samples."""
        if not self.embeddings or not self.embedding:
            return None
        sidecar = ShardReader(below(self.embeddings, split), remote=self.remote)
        same_keys = np.array_equal(sidecar.index["key"], reader.index["key"])
        if sidecar.manifest.fields["of"] != reader.manifest.dataset_id or not same_keys:
            raise UserError(
                f"{sidecar.folder} holds embeddings of another dataset than {reader.folder}; "
                "embed this one again"
            )
        return Sidecar(sidecar, self.embedding)


def _check_embedded(samples: Samples) -> None:
    sidecar = samples.sidecar
    if sidecar and not sidecar.reader.has(sidecar.member)[samples.usable].all():
        raise UserError(
            f"{sidecar.reader.folder} lacks {sidecar.member} for samples that need it; "
            "embed the dataset again"
        )


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise UserError(f"{name} is {value} but must be at least {least}")
