"""Configurations as plain values and back: what a checkpoint or a YAML file can hold."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar, get_args

from core.errors import UserError

T = TypeVar("T")


def to_plain(value: Any, *, tagged: bool = False) -> Any:
    """Turn dataclasses, tuples and paths into dictionaries, lists and strings, recursively.

    Where a field may hold one of several dataclasses the value says which (`class_path`).
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {
            f.name: to_plain(getattr(value, f.name), tagged=_is_choice(f.type))
            for f in dataclasses.fields(value)
        }
        path = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"class_path": path, "init_args": plain} if tagged else plain
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _is_choice(annotation: Any) -> bool:
    """Tell whether a field's type is a union of dataclasses."""
    return sum(dataclasses.is_dataclass(t) for t in get_args(annotation)) > 1


def with_tags(dumped: Any, plain: Any) -> Any:
    """Put the tags of `plain` into a configuration that was dumped without them."""
    if not isinstance(plain, dict) or not isinstance(dumped, dict):
        return dumped
    if "class_path" in plain:
        return plain
    return {k: with_tags(v, plain.get(k)) for k, v in dumped.items()}


def from_plain(cls: type[T], init: dict[str, Any]) -> T:
    """Construct a class from plain values; the constructor's types say what each becomes."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, "module")
    try:
        return parser.instantiate(parser.parse_object({"module": init})).module
    except Exception as error:
        line = " ".join(str(error).split())
        raise UserError(f"the checkpoint's configuration does not fit this code: {line}") from error
