"""The space of a sweep: which options of a trainer are searched, and the values each may take.

model.optim.rule.matrix_lr: {low: 0.005, high: 0.08, log: true, points: 4}
model.model.net.depth: {type: int, low: 2, high: 8, step: 2}
model.flow.prediction: {choices: [x, v]}
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from core.errors import UserError
from core.files import existing_file

Value = bool | int | float | str | None
RESERVED = ("config", "out", "resume", "init")
"""Options that a sweep gives to each trial itself."""


@dataclass(frozen=True)
class Floats:
    """Any number of a range, its ends included."""

    low: float
    high: float
    log: bool = False
    """Draw orders of magnitude evenly."""
    points: int | None = None
    """How many values a grid takes of the range."""

    def __post_init__(self):
        _check_range(self.low, self.high, self.log)
        if self.points is not None and self.points < 2:
            raise UserError(f"points is {self.points} but a range has at least its 2 ends")

    def grid(self) -> tuple[float, ...]:
        """Return the values of a grid, ends included, to six significant digits."""
        if self.points is None:
            raise UserError("a grid needs to know how many points of a range to try; add points")
        space = np.geomspace if self.log else np.linspace
        rounded = (float(f"{value:.6g}") for value in space(self.low, self.high, self.points))
        return tuple(min(max(value, self.low), self.high) for value in rounded)


@dataclass(frozen=True)
class Integers:
    """The integers low, low + step, ... up to high."""

    low: int
    high: int
    log: bool = False
    """Draw orders of magnitude evenly."""
    step: int = 1

    def __post_init__(self):
        _check_range(self.low, self.high, self.log)
        if self.step < 1:
            raise UserError(f"step is {self.step} but must be at least 1")
        if self.log and self.step > 1:
            raise UserError(f"step is {self.step} but a log range has none; leave one of them out")
        if (self.high - self.low) % self.step:
            last = self.high - (self.high - self.low) % self.step
            raise UserError(f"steps of {self.step} from {self.low} miss {self.high}; end at {last}")

    def grid(self) -> tuple[int, ...]:
        """Return all of them."""
        return tuple(range(self.low, self.high + 1, self.step))


@dataclass(frozen=True)
class Choices:
    """One of several values, which have no order."""

    choices: tuple[Value, ...]

    def __post_init__(self):
        if not self.choices:
            raise UserError("choices is empty but needs at least one value")
        if len({str(c) for c in self.choices}) < len(self.choices):
            raise UserError(f"choices {list(self.choices)} has a value twice; leave one out")

    def grid(self) -> tuple[Value, ...]:
        """Return all of them."""
        return self.choices


Range = Floats | Integers | Choices
Space = Mapping[str, Range]
"""The name of an option, without its dashes, -> its values."""


def read_space(path: str | Path) -> dict[str, Range]:
    """Read a space from a YAML file, strictly.

    Raises:
        ValueError: for whatever is not understood, by the names of file and option.
    """
    try:
        entries = yaml.load(existing_file(path).read_text(encoding="utf-8"), _OnceLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path} names no option; write a line such as {_EXAMPLE}")
    return {str(name): _read_range(f"{path}: {name}", str(name), e) for name, e in entries.items()}


def combinations(space: Space) -> list[dict[str, Value]]:
    """Return every combination of the grids of all options; the last option varies fastest."""
    grids = []
    for name, values in space.items():
        try:
            grids.append(values.grid())
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
    return [dict(zip(space, row, strict=True)) for row in product(*grids)]


def to_yaml(values: Mapping[str, Value]) -> str:
    """Return a configuration file that holds these options: dotted names are nested."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return yaml.safe_dump(nested, sort_keys=False)


def plain(space: Space) -> dict[str, Any]:
    """Return the space as JSON holds it, to be compared with a stored one."""
    rows = {name: dataclasses.asdict(values) for name, values in space.items()}
    return json.loads(json.dumps(rows))


_EXAMPLE = "model.optim.rule.lr: {low: 0.0005, high: 0.01, log: true}"
_TYPES = {"float": Floats, "int": Integers}


class _OnceLoader(yaml.SafeLoader):
    """Reads an option that is named twice as the mistake that it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.YAMLError(f"{name} is there twice; leave one out")
        return super().construct_mapping(node, deep)


def _read_range(where: str, name: str, entry: Any) -> Range:
    if name.startswith("-") or name in RESERVED:
        rule = "is written without dashes" if name.startswith("-") else "is given by the sweep"
        raise UserError(f"{where} {rule}; name an option of the trainer, such as {_EXAMPLE}")
    if not isinstance(entry, dict):
        raise UserError(f"{where} is {entry!r} but must be a range or choices, such as {_EXAMPLE}")
    try:
        return _read_choices(entry) if "choices" in entry else _read_ends(entry)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _read_choices(entry: dict[str, Any]) -> Choices:
    _check_keys(entry, ("choices",), Choices)
    if not isinstance(entry["choices"], list):
        raise UserError(f"choices is {entry['choices']!r} but must be a list, such as [x, v]")
    for choice in entry["choices"]:
        if not isinstance(choice, Value):
            raise UserError(f"choice {choice} must be one value; write it as text: '{choice}'")
    return Choices(tuple(entry["choices"]))


def _read_ends(entry: dict[str, Any]) -> Floats | Integers:
    kind = entry.get("type", "float")
    if kind not in _TYPES:
        raise UserError(f"type is {kind!r} but must be one of: {', '.join(_TYPES)}")
    names = [field.name for field in dataclasses.fields(_TYPES[kind])]
    _check_keys(entry, ("type", *names), _TYPES[kind])
    missing = [name for name in ("low", "high") if name not in entry]
    if missing:
        raise UserError(f"{' and '.join(missing)} missing; a range has low and high")
    numbers = {"low": kind, "high": kind, "step": "int", "points": "int"}
    read = {n: _number(n, entry[n], numbers[n]) for n in names if n in entry and n in numbers}
    if not isinstance(entry.get("log", False), bool):
        raise UserError(f"log is {entry['log']!r} but must be true or false")
    return _TYPES[kind](**read, log=entry.get("log", False))


def _check_keys(entry: dict[str, Any], known: Sequence[str], kind: type) -> None:
    for key in entry:
        if key not in known:
            raise UserError(f"{key!r} is no key of {kind.__name__.lower()}: {', '.join(known)}")


def _number(name: str, value: Any, kind: str) -> float | int:
    """Return a number; YAML reads 1e-4 as text, which is one too."""
    try:
        number = float(value) if isinstance(value, int | float | str) else np.nan
    except ValueError:
        number = np.nan
    if isinstance(value, bool) or not np.isfinite(number):
        raise UserError(f"{name} is {value!r} but must be a number")
    if kind == "float":
        return number
    if not number.is_integer():
        raise UserError(f"{name} is {value!r} but must be an integer")
    return int(number)


def _check_range(low: float | int, high: float | int, log: bool) -> None:
    if low >= high:
        raise UserError(f"low is {low} but must be below high, which is {high}")
    if log and low <= 0:
        raise UserError(f"low is {low} but a log range begins above 0")
