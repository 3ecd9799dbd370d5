"""Decoded samples: read by position, kept in one contiguous tensor a field."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from core.errors import UserError
from core.members import decode_npy
from core.shards import ShardReader
from core.storage import DataLost

Fields = dict[str, Tensor | str]
"""One decoded sample: a tensor or a string a field."""
Columns = dict[str, Tensor | list[str]]
"""The same fields of many samples."""


class NoSamples(UserError):
    """A dataset none of whose samples has what is asked for."""


@dataclass(frozen=True)
class Sidecar:
    """Embeddings written beside a dataset, with the same keys in the same order."""

    reader: ShardReader
    member: str
    """The embedding that conditions: one member of the sidecar."""

    def read(self, position: int) -> Tensor:
        """Return one sample's embedding: Float[E]."""
        return decode_npy(self.reader.read(position, [self.member])[self.member]).float()


@runtime_checkable
class Selection(Protocol):
    """What batches are made of: rows that are read by position."""

    reader: ShardReader
    """The dataset they come from."""
    usable: Int64[np.ndarray, " M"]
    """Positions that there are."""

    @property
    def sizes(self) -> list[int]:
        """How many of them each shard holds."""
        ...

    def select(self, positions: Int64[np.ndarray, " B"]) -> tuple[Any, Int64[np.ndarray, " B"]]:
        """Return columns, and the positions with damaged rows replaced."""
        ...


class Samples:
    """Decoded samples of one dataset, by position; decoded once if they are kept."""

    def __init__(
        self,
        reader: ShardReader,
        members: Iterable[str],
        decode: Callable[[dict[str, bytes]], Fields],
        *,
        partial: bool = False,
        sidecar: Sidecar | None = None,
        keep: bool = True,
        on_error: Literal["raise", "skip"] = "raise",
    ):
        """Take the samples of a reader.

        Args:
            members: What a sample is decoded from.
            partial: Take samples that lack some of the members too, not only complete ones.
            keep: Keep what was decoded in memory.
        """
        self.reader, self.decode, self.sidecar = reader, decode, sidecar
        self.members = tuple(members)
        self.usable = self._find_usable(partial)
        self.keep, self.on_error = keep, on_error
        self.skipped: set[int] = set()
        self._kept: Columns | None = None
        self._filled = np.zeros(len(reader), dtype=bool)

    @property
    def sizes(self) -> list[int]:
        """Usable samples of each shard."""
        shards = self.reader.index["shard"][self.usable]
        return np.bincount(shards, minlength=len(self.reader.manifest.shards)).tolist()

    def select(self, positions: Int64[np.ndarray, " B"]) -> tuple[Columns, Int64[np.ndarray, " B"]]:
        """Return the samples at `positions`, and the positions with damaged samples replaced."""
        if not self.keep:
            return self._decode_all(positions)
        if self._kept is None:
            self._kept = self._allocate(len(self.reader))
        positions = positions.copy()
        for place in np.flatnonzero(~self._filled[positions]).tolist():
            position, fields = self._readable(int(positions[place]))
            self._store(self._kept, position, position, fields)
            self._filled[position], positions[place] = True, position
        index = torch.from_numpy(positions)
        return {name: _take(column, index) for name, column in self._kept.items()}, positions

    def _find_usable(self, partial: bool) -> Int64[np.ndarray, " M"]:
        held = np.array([self.reader.has(member) for member in self.members])
        usable = np.flatnonzero(held.any(0) if partial else held.all(0))
        if not len(usable):
            raise NoSamples(
                f"{self.reader.folder} has no samples with {', '.join(self.members)}; "
                f"its members are {', '.join(self.reader.manifest.members)}"
            )
        return usable

    def _decode_all(
        self, positions: Int64[np.ndarray, " B"]
    ) -> tuple[Columns, Int64[np.ndarray, " B"]]:
        columns, positions = self._allocate(len(positions)), positions.copy()
        for row, position in enumerate(positions.tolist()):
            positions[row], fields = self._readable(position)
            self._store(columns, row, int(positions[row]), fields)
        return columns, positions

    def _readable(self, position: int) -> tuple[int, Fields]:
        """Decode a sample; a damaged one raises, or the next readable one takes its place."""
        start = int(np.searchsorted(self.usable, position))
        for step in range(len(self.usable)):
            place = int(self.usable[(start + step) % len(self.usable)])
            try:
                return place, self._decode(place)
            except UserError as error:
                if self.on_error == "raise" or isinstance(error, DataLost):
                    raise
                self._skip(place, error)
        raise UserError(f"{self.reader.folder} holds no readable sample; rebuild the dataset")

    def _decode(self, position: int) -> Fields:
        try:
            sample = self.reader.read(position, self.members)
            del sample["__key__"]
            fields = self.decode(sample)
            if self.sidecar:
                fields["cond"] = self.sidecar.read(position)
        except DataLost:
            raise
        except (ValueError, OSError, RuntimeError, SyntaxError, EOFError) as error:
            where = self.reader.where(position)
            line = str(error) if where in str(error) else f"{where} cannot be decoded ({error})"
            raise UserError(line) from error
        return fields

    def _skip(self, position: int, error: UserError) -> None:
        if position not in self.skipped:
            self.skipped.add(position)
            warnings.warn(f"skipped {len(self.skipped)} samples so far: {error}", stacklevel=2)

    def _allocate(self, rows: int) -> Columns:
        """Empty columns, shaped after the first samples that together hold all members."""
        example: Fields = {}
        for member in self.members:
            holders = self.usable[self.reader.has(member)[self.usable]]
            if len(holders):
                example = self._readable(int(holders[0]))[1] | example
        return {
            name: [""] * rows if isinstance(value, str) else value.new_zeros(rows, *value.shape)
            for name, value in example.items()
        }

    def _store(self, columns: Columns, row: int, position: int, fields: Fields) -> None:
        for name, value in fields.items():
            column: Any = columns[name]
            if isinstance(value, Tensor) and value.shape != column.shape[1:]:
                raise UserError(
                    f"{self.reader.where(position)} has {name} of shape {list(value.shape)} but "
                    f"others {list(column.shape[1:])}; rebuild the dataset with one size"
                )
            column[row] = value


def _take(column: Tensor | list[str], index: Int64[Tensor, " B"]) -> Tensor | list[str]:
    return column[index] if isinstance(column, Tensor) else [column[i] for i in index.tolist()]
