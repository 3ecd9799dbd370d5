"""Rows of Parquet files, and of the Arrow streams that Hugging Face's datasets are saved as."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError

Row = dict[str, Any]
"""Column -> value."""
AT_ONCE = 256
"""Rows read at a time of a row group, if they are texts; media take less."""


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path} (row group {self.number})"

    def read(self, columns: Sequence[str], at_once: int = AT_ONCE) -> Iterator[Row]:
        """Yield the columns of each row."""
        with _naming(self), _parquet(self.path) as file:
            for batch in file.iter_batches(at_once, [self.number], list(columns)):
                yield from batch.to_pylist()


@dataclass(frozen=True)
class Batch:
    """A record batch of an Arrow stream."""

    path: Path
    offset: int
    """Its first byte."""

    def __str__(self) -> str:
        return f"{self.path} (byte {self.offset})"

    def read(self, columns: Sequence[str], at_once: int = AT_ONCE) -> Iterator[Row]:
        """Yield the columns of each row."""
        pyarrow = need_pyarrow()
        with _naming(self), pyarrow.memory_map(str(self.path)) as stream:
            schema = pyarrow.ipc.read_schema(stream)
            stream.seek(self.offset)
            batch = pyarrow.ipc.read_record_batch(pyarrow.ipc.read_message(stream), schema)
            for start in range(0, batch.num_rows, at_once):
                yield from batch.select(list(columns)).slice(start, at_once).to_pylist()


Rows = RowGroup | Batch
"""Some rows of a file."""


def rows_of(path: Path, columns: Sequence[str] = ()) -> Iterator[Rows]:
    """Cut a file of rows into parts; one without the columns is a ValueError that lists its own."""
    if path.suffix.lower() == ".parquet":
        with _parquet(path) as file:
            _check_columns(path, file.schema_arrow.names, columns)
            yield from (RowGroup(path, number) for number in range(file.num_row_groups))
    else:
        yield from _batches(path, columns)


def schema_of(path: Path) -> Any:
    """Return the Arrow schema of a file of rows."""
    if path.suffix.lower() == ".parquet":
        with _parquet(path) as file:
            return file.schema_arrow
    pyarrow = need_pyarrow()
    with pyarrow.memory_map(str(path)) as stream:
        return _schema(path, stream)


def need_pyarrow() -> Any:
    """Return pyarrow, or say how it is installed."""
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise UserError(
            "Parquet and Arrow are read by pyarrow; install it with: pip install 'pyarrow>=18' (or"
            " the extra corpus)"
        ) from error
    return pyarrow


def listed(path: Path) -> bool:
    """Tell whether a data set that Hugging Face's datasets saved names a file as its own."""
    state = path.with_name("state.json")
    if path.suffix.lower() != ".arrow" or not state.is_file():
        return True
    try:
        files = json.loads(state.read_text(encoding="utf-8"))["_data_files"]
        return path.name in {file["filename"] for file in files}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{state} does not list the files of a data set ({error!r}); save it again with"
            " save_to_disk"
        ) from None


def _batches(path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    pyarrow = need_pyarrow()
    with pyarrow.memory_map(str(path)) as stream:
        _check_columns(path, _schema(path, stream).names, columns)
        offset = stream.tell()
        while (kind := _next(path, pyarrow, stream)) is not None:
            if kind != "record batch":
                raise UserError(
                    f"{path} holds a {kind}, which is not read here; save it without dictionaries"
                )
            yield Batch(path, offset)
            offset = stream.tell()


def _schema(path: Path, stream: Any) -> Any:
    pyarrow = need_pyarrow()
    try:
        return pyarrow.ipc.read_schema(stream)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is no Arrow stream ({_line(error)}); save it again") from None


@contextmanager
def _naming(rows: Rows) -> Iterator[None]:
    """Let an error of pyarrow name the rows that it met."""
    try:
        yield
    except (need_pyarrow().ArrowException, OSError) as error:
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
    pyarrow = need_pyarrow()
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


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
