"""Rows of conversations as batches, with windows of the pretraining corpus among them if asked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from jaxtyping import Int64
from jsonargparse import Namespace
from torch.utils.data import DataLoader

from core.batches import Batches, InOrder, Place, Plan, Shuffled, loader
from core.checkpoint import read_checkpoint
from core.errors import UserError
from core.manifest import Manifest
from core.members import decode_npy
from core.samples import Columns, Fields, Selection
from core.shards import ShardReader
from core.storage import below
from text.conversations import ROW
from text.data import TextData
from text.tokenizer_files import check_written_with
from text.windows import Shifted, Windows


@dataclass(frozen=True)
class Replay:
    """The corpus that a model was pretrained on, so that it forgets less of it."""

    root: str
    """Folder of its token shards; the loss on its validation split is logged, too."""
    share: float = 0.25
    """Share of each batch's rows that are windows of it; 0 measures only."""

    def __post_init__(self):
        if not 0 <= self.share < 1:
            raise UserError(f"share is {self.share} but must be from 0 to below 1")

    def rows(self, batch_size: int) -> int:
        """Return how many rows of a batch are windows of the corpus."""
        count = round(self.share * batch_size)
        if (self.share and not count) or count == batch_size:
            raise UserError(
                f"a share of {self.share} of {batch_size} rows is {count}, but both conversations "
                "and the corpus need one; choose another share or batch size"
            )
        return count


@dataclass(frozen=True)
class Mixed:
    """A plan: each batch has rows of conversations first, and windows of the corpus behind.

    The corpus goes on where the batch before left it, through its own epochs, whatever the
    conversations' are; so the place in these still says all.
    """

    rows: Shuffled
    windows: Shifted
    offset: int
    """What is added to the places of windows, to tell them from the rows'."""

    def __call__(self, epoch: int) -> Plan:
        """Return one rank's batches of an epoch of the conversations."""
        rows = self.rows(epoch).positions
        return Plan(np.concatenate([rows, self._windows(epoch * len(rows), len(rows))], axis=1))

    def _windows(self, first: int, count: int) -> Int64[np.ndarray, "batches B"]:
        """Return the windows of `count` batches, of which one is number `first` of all."""
        size = len(self.windows(0).positions)
        epochs = range(first // size, (first + count - 1) // size + 1)
        found = np.concatenate([self.windows(epoch).positions for epoch in epochs])
        start = first - epochs[0] * size
        return found[start : start + count] + self.offset


class MixedRows:
    """Rows of conversations, and windows of a corpus at places from their number on."""

    def __init__(self, rows: Selection, windows: Windows):
        self.rows, self.windows = rows, windows
        self.reader, self.usable = rows.reader, rows.usable

    @property
    def sizes(self) -> list[int]:
        """Rows of conversations in each shard."""
        return self.rows.sizes

    def select(self, positions: Int64[np.ndarray, " B"]) -> tuple[Columns, Int64[np.ndarray, " B"]]:
        """Return rows and, behind them, windows: `tokens`, `targets`, `documents`."""
        first = int((positions < len(self.reader)).sum())
        rows, found = self.rows.select(positions[:first])
        windows, starts = self.windows.select(positions[first:] - len(self.reader))
        one = torch.ones_like(windows["tokens"])
        both = {name: torch.cat([rows[name], windows.get(name, one)]) for name in rows}
        return cast(Columns, both), np.concatenate([found, starts + len(self.reader)])


class ChatData(TextData):
    """Batches with `tokens`, `targets` and `documents`: Int64[B T], of conversations in rows.

    A token sees its own conversation only. `python -m text.conversations` writes the shards.
    """

    members: ClassVar = {"row": ROW}

    def __init__(self, root: str, replay: Replay | None = None, **kwargs: Any):
        """Take shards at `root`.

        Args:
            root: Folder that holds a folder of rows for each split.
            replay: The pretraining corpus, to learn from it on and to measure what is forgotten.
            **kwargs: As for `TextData`.
        """
        super().__init__(root, **kwargs)
        self.replay = replay
        if replay:
            replay.rows(self.batch_size)

    @classmethod
    def link(cls, config: Any) -> None:
        """Link the shape of the model that is tuned; without one, the size of the vocabulary."""
        start = config.resume or config.init
        shape = _shape_of(start) if start else {}
        config.model.model.update(Namespace(shape))
        super().link(config)
        config.model.model.update(Namespace(shape))  # a table may be larger than the tokenizer
        if config.model.model.prefix:
            raise UserError(
                f"the model has {config.model.model.prefix} condition tokens before its text, but "
                "conversations are for a plain language model; train one with "
                "--model.model.prefix 0"
            )

    @cached_property
    def dataset_id(self) -> str:
        """Hash of what is trained on: the conversations, and the corpus if it is replayed."""
        if self.replay is None or not self.replay.share:
            return super().dataset_id
        corpus = Manifest.load(below(self.replay.root, self.splits["train"]))
        return f"{super().dataset_id}+{corpus.dataset_id}"

    def samples_of(self, reader: ShardReader, split: Literal["train", "val"]) -> Selection:
        """Return rows of conversations, in training those that are mixed with the corpus."""
        rows = super().samples_of(reader, split)
        _check_fits(reader, self.context)
        if split == "val" or self.replay is None or not self.replay.share:
            return rows
        return MixedRows(rows, self._corpus("train", reader.manifest.fields["context"]))

    def plan(
        self, samples: Selection, batch_size: int, rank: int, world: int
    ) -> Callable[[int], Plan]:
        """Return the order of training."""
        if not isinstance(samples, MixedRows):
            return super().plan(samples, batch_size, rank, world)
        assert self.replay is not None
        count = self.replay.rows(batch_size)
        order = (self.seed, self.window)
        rows = Shuffled(samples.usable, samples.sizes, *order, batch_size - count, rank, world)
        windows = samples.windows
        shifted = Shifted(windows.sizes, windows.context, *order, count, rank, world)
        _check_enough(windows, count * world)
        return Mixed(rows, shifted, len(samples.reader))

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Batches of validation: the conversations' and, if there is one, the corpus'."""
        own = super().val_dataloader()
        if self.replay is None:
            return own
        assert isinstance(own, DataLoader), "conversations always have rows to validate on"
        windows = self._corpus("val", self.context)
        plan = InOrder(windows.usable, self.batch_size, self._rank, self._world)
        return [own, loader(Batches(windows, plan, {}), lambda: Place(0, 0), self.workers)]

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a row."""
        row = decode_npy(members[ROW])
        if row.ndim != 2 or len(row) != 3:
            raise UserError(f"a row has shape {list(row.shape)} but must be [3, T]")
        tokens, targets, documents = row.long()
        return {"tokens": tokens, "targets": targets, "documents": documents}

    def _corpus(self, split: Literal["train", "val"], context: int) -> Windows:
        """Return windows of the pretraining corpus."""
        assert self.replay is not None
        reader = ShardReader(below(self.replay.root, self.splits[split]), remote=self.remote)
        assert self.tokenizer is not None
        check_written_with(self.tokenizer, reader.manifest.fields, self.replay.root)
        return self.windows_of(reader, split, context)

    def _order(self) -> dict[str, Any]:
        """What an epoch's order depends on."""
        share = self.replay.share if self.replay else 0.0
        return super()._order() | {"replayed": share}


def _shape_of(path: str) -> dict[str, Any]:
    return read_checkpoint(path, "text")["unison"]["init"]["model"]


def _check_fits(rows: ShardReader, context: int) -> None:
    found = rows.manifest.fields["context"]
    if found > context:
        raise UserError(
            f"{rows.folder} has rows of {found} tokens but the model's context is {context}; build "
            f"them again with --context {context}"
        )


def _check_enough(windows: Windows, count: int) -> None:
    if len(windows.usable) < count:
        raise UserError(
            f"{windows.reader.folder} has {len(windows.usable)} windows but a batch replays "
            f"{count}; lower the share or the batch size"
        )
