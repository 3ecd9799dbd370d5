"""Records of Parquet files, and of the Arrow streams that Hugging Face's datasets are saved as."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError

AT_ONCE = 256
"""Rows read at a time of a row group."""


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path} (row group {self.number})"

    def read(self, field: str, label: str | None) -> Iterator[tuple[Any, Any]]:
        """Yield text and label of each row."""
        columns = [field] if label is None else [field, label]
        with _naming(self), _parquet(self.path) as file:
            for batch in file.iter_batches(AT_ONCE, [self.number], columns):
                yield from _rows(batch, field, label)


@dataclass(frozen=True)
class Batch:
    """A record batch of an Arrow stream."""

    path: Path
    offset: int
    """Its first byte."""

    def __str__(self) -> str:
        return f"{self.path} (byte {self.offset})"

    def read(self, field: str, label: str | None) -> Iterator[tuple[Any, Any]]:
        """Yield text and label of each row."""
        pyarrow = _pyarrow()
        with _naming(self), pyarrow.memory_map(str(self.path)) as stream:
            schema = pyarrow.ipc.read_schema(stream)
            stream.seek(self.offset)
            batch = pyarrow.ipc.read_record_batch(pyarrow.ipc.read_message(stream), schema)
            yield from _rows(batch, field, label)


Rows = RowGroup | Batch
"""Some rows of a file."""


def rows_of(path: Path, columns: Sequence[str]) -> Iterator[Rows]:
    """Cut a file of rows into parts; one without the columns is a ValueError that lists its own."""
    if path.suffix.lower() == ".parquet":
        with _parquet(path) as file:
            _check_columns(path, file.schema_arrow.names, columns)
            yield from (RowGroup(path, number) for number in range(file.num_row_groups))
    else:
        yield from _batches(path, columns)


def _batches(path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    pyarrow = _pyarrow()
    with pyarrow.memory_map(str(path)) as stream:
        try:
            schema = pyarrow.ipc.read_schema(stream)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{path} is no Arrow stream ({_line(error)}); save it again") from None
        _check_columns(path, schema.names, columns)
        offset = stream.tell()
        while (kind := _next(path, pyarrow, stream)) is not None:
            if kind != "record batch":
                raise UserError(
                    f"{path} holds a {kind}, which is not read here; save it without dictionaries"
                )
            yield Batch(path, offset)
            offset = stream.tell()


@contextmanager
def _naming(rows: Rows) -> Iterator[None]:
    """Let an error of pyarrow name the rows that it met."""
    try:
        yield
    except (_pyarrow().ArrowException, OSError) as error:
        raise UserError(f"{rows} cannot be read ({_line(error)}); save the file again") from None


def _next(path: Path, pyarrow: Any, stream: Any) -> str | None:
    """Pass over a message and return its kind; None at the end."""
    try:
        return pyarrow.ipc.read_message(stream).type
    except EOFError:
        return None
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged ({_line(error)}); save it again") from None


def _parquet(path: Path) -> Any:
    pyarrow = _pyarrow()
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is no Parquet file ({_line(error)}); save it again") from None


def _check_columns(path: Path, found: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [column for column in columns if column not in found]:
        raise UserError(
            f"{path} has no column {missing[0]!r} but {', '.join(found) or 'none'}; name one with"
            " --field or --label"
        )


def _rows(batch: Any, field: str, label: str | None) -> Iterator[tuple[Any, Any]]:
    texts = batch.column(field).to_pylist()
    labels = [None] * len(texts) if label is None else batch.column(label).to_pylist()
    yield from zip(texts, labels, strict=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise UserError(
            "Parquet and Arrow are read by pyarrow; install it with: pip install 'pyarrow>=18' (or"
            " the extra corpus)"
        ) from error
    return pyarrow
