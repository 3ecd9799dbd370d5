"""A stream of tokens as windows: what a language model is trained and measured on.

The stream lies in shards, cut in pieces of one size (`python -m text.tokens`). Training takes
windows that lie side by side, in an order and from a place that every epoch draws anew; validation
takes each token once.
"""

import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, Integer
from torch import Tensor

from core.batches import Plan
from core.errors import UserError
from core.members import decode_npy
from core.order import epoch_order, training_batches
from core.shards import ShardReader
from core.storage import DataLost

MEMBER = "tokens.npy"
IGNORE = -100
"""In place of a target that is not learned, as torch's cross-entropy has it."""
FEW = 64
"""Pieces that stay in memory where not all of them do."""


@dataclass(frozen=True)
class Shifted:
    """The plan of training: windows side by side from a place that each epoch draws anew."""

    sizes: list[int]
    """Windows that begin in each shard."""
    context: int
    """Tokens a window."""
    seed: int
    window: int
    batch_size: int
    rank: int
    world: int

    def __call__(self, epoch: int) -> Plan:
        """Return one rank's batches of an epoch: where each window starts in the stream."""
        shift = np.random.default_rng((self.seed, epoch, self.context)).integers(self.context)
        starts = epoch_order(self.sizes, self.seed, epoch, self.window) * self.context + shift
        return Plan(training_batches(starts, self.batch_size, self.rank, self.world))


class Windows:
    """Windows of a split's stream, by the place of their first token.

    A window of T tokens gives T inputs and T targets, the tokens one further on.
    """

    def __init__(
        self,
        reader: ShardReader,
        context: int,
        bos: int | None,
        *,
        apart: bool = False,
        whole: bool = False,
        keep: bool = True,
        on_error: Literal["raise", "skip"] = "raise",
    ):
        """Take the stream of a dataset.

        Args:
            reader: Token shards.
            context: Tokens T a window.
            bos: What begins a document; it is no target. None where nothing does.
            apart: Add the number of each token's document, so that it sees that one only.
            whole: Cover every target, the last window padded; else all windows are full, wherever
                an epoch starts.
            keep: Keep what was read in memory.
            on_error: What a damaged piece does: stop the run, or be replaced, counted and warned.
        """
        self.reader, self.context, self.bos, self.apart = reader, context, bos, apart
        self.on_error: Literal["raise", "skip"] = on_error
        self.tokens, self.piece = (reader.manifest.fields[name] for name in ("tokens", "piece"))
        count = -(-(self.tokens - 1) // context) if whole else self.tokens // context - 1
        if count < 1:
            raise UserError(
                f"{reader.folder} has {self.tokens} tokens but a window takes {context} and two of "
                "them are needed; lower the model's context or add text"
            )
        self.usable = np.arange(count, dtype=np.int64) * context
        self.skipped: set[int] = set()
        self._held: OrderedDict[int, np.ndarray] = OrderedDict()
        self._most = len(reader) if keep else FEW

    @property
    def sizes(self) -> list[int]:
        """Windows that begin in each shard."""
        shards = self.reader.index["shard"][self.usable // self.piece]
        return np.bincount(shards, minlength=len(self.reader.manifest.shards)).tolist()

    def select(
        self, positions: Int64[np.ndarray, " B"]
    ) -> tuple[dict[str, Tensor], Int64[np.ndarray, " B"]]:
        """Return the windows that start at `positions`, and where damaged ones were replaced.

        `tokens` Int64[B T], `targets` Int64[B T] with IGNORE where nothing is learned, and
        `documents` Int64[B T] if they are kept apart.
        """
        found = positions.copy()
        rows = np.zeros((len(positions), self.context + 1), dtype=np.int64)
        filled = np.zeros_like(rows, dtype=bool)
        for row, start in enumerate(positions.tolist()):
            found[row], ids = self._readable(start)
            rows[row, : len(ids)], filled[row, : len(ids)] = ids, True
        learned = filled & (rows != self.bos) if self.bos is not None else filled
        targets = np.where(learned, rows, IGNORE)[:, 1:]
        batch = {"tokens": torch.from_numpy(rows[:, :-1]), "targets": torch.from_numpy(targets)}
        if self.apart:
            batch["documents"] = (batch["tokens"] == self.bos).cumsum(dim=1)
        return batch, found

    def _readable(self, start: int) -> tuple[int, Integer[np.ndarray, " T"]]:
        """Read a window; a damaged one raises, or one of the pieces behind it takes its place."""
        last = max(0, self.tokens - self.context - 1)
        for step in range(len(self.reader) + 1):
            place = start if step == 0 else (start + step * self.piece) % (last + 1)
            try:
                return place, self._read(place, min(place + self.context + 1, self.tokens))
            except UserError as error:
                if self.on_error == "raise" or isinstance(error, DataLost):
                    raise
                self._skip(place // self.piece, error)
        raise UserError(f"{self.reader.folder} holds no readable window; rebuild the dataset")

    def _read(self, start: int, stop: int) -> Integer[np.ndarray, " T"]:
        parts = []
        for number in range(start // self.piece, (stop - 1) // self.piece + 1):
            first = number * self.piece
            parts.append(self._load(number)[max(start - first, 0) : stop - first])
        ids = np.concatenate(parts)
        if len(ids) != stop - start:
            raise UserError(
                f"{self.reader.folder} has {start + len(ids)} tokens where its manifest says "
                f"{self.tokens}; rebuild the dataset"
            )
        return ids

    def _load(self, number: int) -> np.ndarray:
        """Return a piece of the stream, from memory if it is there."""
        if number not in self._held:
            try:
                read = self.reader.read(number, [MEMBER])[MEMBER]
                self._held[number] = decode_npy(read).numpy()
            except (KeyError, TypeError) as error:
                where = self.reader.where(number)
                raise UserError(f"{where} cannot be decoded ({error}); rebuild") from error
        self._held.move_to_end(number)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        return self._held[number]

    def _skip(self, piece: int, error: UserError) -> None:
        if piece not in self.skipped:
            self.skipped.add(piece)
            warnings.warn(f"skipped {len(self.skipped)} pieces so far: {error}", stacklevel=2)
