"""The manifest beside the shards: what a dataset holds, where it came from, what was dropped."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.storage import folder_at

NAME = "manifest.json"
VERSION = 1


@dataclass(frozen=True)
class Shard:
    """One tar file of a dataset."""

    name: str
    """File name inside the dataset's folder."""
    samples: int
    """Samples in the file."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Hash of the whole file, in hexadecimal."""


@dataclass(frozen=True)
class Manifest:
    """Everything about a dataset that is not a sample."""

    samples: int
    """Samples in all shards."""
    shards: tuple[Shard, ...]
    """The tar files in order."""
    required: tuple[str, ...]
    """Members (extensions) that every sample has."""
    source: str
    """Where the material came from."""
    licence: str
    """Licence of the material."""
    optional: tuple[str, ...] = ()
    """Members that some samples have."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Samples of the source that were left out, counted by reason."""
    builder: dict[str, Any] = field(default_factory=dict)
    """Configuration of the program that wrote the dataset: enough to write it again."""
    card: dict[str, Any] = field(default_factory=dict)
    """Data card for people: purpose, statistics, limits."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Facts that programs read, such as the width of an embedding."""
    version: int = VERSION
    """Version of this format."""

    @property
    def kept(self) -> int:
        """Samples that passed every rule of the cleaning."""
        return self.samples

    @property
    def members(self) -> tuple[str, ...]:
        """All members a sample may have; an index's bit masks follow this order."""
        return self.required + self.optional

    @property
    def dataset_id(self) -> str:
        """SHA-256 of the canonical manifest, shard hashes included: equal for equal data."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The canonical text of the manifest."""
        return json.dumps(asdict(self) | {"kept": self.kept}, indent=1, sort_keys=True) + "\n"

    def save(self, folder: Path) -> None:
        """Write the manifest into a dataset's folder."""
        (folder / NAME).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Manifest":
        """Read the manifest of a dataset's folder, at a path or URL."""
        place = folder_at(folder)
        path = place.where(NAME)
        try:
            with place.open(NAME) as file:
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{folder} holds no dataset ({NAME} not found); check the path or build it first "
                "with the shards command of its package"
            ) from None
        try:
            values = json.loads(text)
            values.pop("kept")
            values["shards"] = tuple(Shard(**shard) for shard in values["shards"])
            values |= {name: tuple(values[name]) for name in ("required", "optional")}
            manifest = cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is not a dataset manifest ({error}); rebuild it") from error
        if manifest.version != VERSION:
            raise UserError(
                f"{path} has version {manifest.version} but this program reads version {VERSION}; "
                "rebuild the dataset"
            )
        return manifest
