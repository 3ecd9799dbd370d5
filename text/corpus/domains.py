"""Which corpora are mixed: their names, where they lie and how much of each is wanted."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from core.errors import UserError
from core.files import existing_file
from core.storage import is_url

Place = str | Path
"""A file, a folder or a URL that fsspec knows."""
SUFFIXES = {".txt", ".jsonl", ".parquet", ".arrow", ".gz"}
"""Of files that may hold documents."""
MIXES = {".yaml", ".yml"}
"""Suffixes of a file that names domains."""


@dataclass(frozen=True)
class Domain:
    """One of the corpora that make up a data set."""

    name: str
    """What its documents are called in the samples and in the manifest."""
    place: Place
    """A file, a folder or a URL."""
    weight: float | None = None
    """Its part of the training split's bytes, relative to the others'; None takes all there is."""

    def __post_init__(self):
        if self.weight is not None and not (self.weight > 0 and math.isfinite(self.weight)):
            raise UserError(
                f"domain {self.name} has the weight {self.weight:g} but weights must be positive;"
                " leave the domain out or give it more"
            )


def domains(
    source: Place | Sequence[Place], weights: Sequence[float] | None = None
) -> tuple[Domain, ...]:
    """Return the domains that sources are, or that the .yaml file that is the source names.

    Args:
        source: Places, each a domain named after the last part of its path.
        weights: As many numbers as there are sources.
    """
    places: list[Place] = [source] if isinstance(source, str | Path) else list(source)
    if len(places) == 1 and Path(str(places[0])).suffix in MIXES:
        if weights is not None:
            raise UserError(f"{places[0]} names the weights; leave --weights out")
        return _named(Path(places[0]))
    if weights is not None and len(weights) != len(places):
        raise UserError(
            f"{len(weights)} weights were given for {len(places)} sources; give one for each"
        )
    found = tuple(
        Domain(_name(place), place, weight)
        for place, weight in zip(places, weights or [None] * len(places), strict=True)
    )
    _check_names(found)
    return found


def _named(path: Path) -> tuple[Domain, ...]:
    """Read `name: {path: ..., weight: ...}`; paths are relative to the file."""
    try:
        entries = yaml.safe_load(existing_file(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{path} is no YAML ({line}); write name: {{path: ...}}") from None
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path} names no domains; write lines of name: {{path: ..., weight: 1}}")
    found = tuple(_entry(path, str(name), entry) for name, entry in entries.items())
    if len({domain.weight is None for domain in found}) > 1:
        raise UserError(f"{path} gives some domains a weight but not all; give one to each or none")
    return found


def _entry(path: Path, name: str, entry: object) -> Domain:
    if not isinstance(entry, dict) or "path" not in entry or not set(entry) <= {"path", "weight"}:
        raise UserError(
            f"{path}: domain {name} is {entry!r} but must be {{path: ..., weight: ...}}"
        )
    weight = entry.get("weight")
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, int | float)):
        raise UserError(f"{path}: domain {name} has the weight {weight!r}; write a number")
    place = str(entry["path"])
    return Domain(
        name,
        place if is_url(place) else path.parent / place,
        None if weight is None else float(weight),
    )


def _name(place: Place) -> str:
    """Return the last part of a place, without the suffixes of a file that is read."""
    path = PurePosixPath(str(place)) if is_url(place) else Path(place).resolve()
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return plain.stem if plain.suffix.lower() in SUFFIXES else plain.name


def _check_names(found: Sequence[Domain]) -> None:
    counts = Counter(domain.name for domain in found)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise UserError(
            f"two sources are called {twice[0]}; name them in a .yaml file of"
            " name: {path: ..., weight: ...} and make that the source"
        )
