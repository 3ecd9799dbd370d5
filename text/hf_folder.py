"""The tensors of a folder of safetensors, looked at before any is read; pickles are never read."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import UserError
from core.files import existing_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
FLOATS = {"F32", "F16", "BF16"}
"""What becomes float32 without loss."""


@dataclass(frozen=True)
class Held:
    """A tensor in a file."""

    file: Any
    """Open."""
    key: str
    """Its name in there."""
    shape: tuple[int, ...]
    """Its shape."""
    dtype: str
    """Its type, as safetensors calls it."""


class HFFolder:
    """The tensors of a folder by name; to be used in a `with`.

    Args:
        folder: With model.safetensors, or several files and their index.
        base: What names may begin with, or not: files of the model without its head lack it.
    """

    def __init__(self, folder: Path, base: str):
        self.folder, self.files = folder, _files(folder)
        self._open = ExitStack()
        self._tensors: dict[str, Held] = {}
        with self._open:
            for file in self.files:
                for held in self._look_into(file):
                    self._tensors[_full(held.key, base)] = held
            self._open = self._open.pop_all()

    def __enter__(self) -> "HFFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def check(self, wanted: Mapping[str, tuple[int, ...]], spare: Iterable[str]) -> None:
        """Raise a ValueError that names the first differences from what is wanted.

        Args:
            wanted: Name -> shape.
            spare: What may be there besides, such as masks that older programs saved.
        """
        found = self._tensors
        differ = [f"{name} is missing" for name in wanted if name not in found]
        differ += [f"{name} is not known" for name in found.keys() - wanted.keys() - set(spare)]
        both = [(name, found[name], shape) for name, shape in wanted.items() if name in found]
        differ += [f"{n} is {list(h.shape)}, not {list(s)}" for n, h, s in both if h.shape != s]
        differ += [f"{n} is of type {h.dtype}" for n, h, _ in both if h.dtype not in FLOATS]
        if differ:
            more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
            raise UserError(
                f"the weights in {self.folder} do not fit its config.json:"
                f" {'; '.join(sorted(differ)[:3])}{more}; take both from one place, in a float type"
            )

    def get(self, name: str) -> Tensor:
        """Read a tensor, as float32."""
        held = self._tensors[name]
        return held.file.get_tensor(held.key).to(torch.float32)

    def _look_into(self, file: Path) -> Iterable[Held]:
        from safetensors import SafetensorError, safe_open

        try:
            opened = self._open.enter_context(safe_open(existing_file(file), "pt"))
            slices = {key: opened.get_slice(key) for key in sorted(opened.keys())}
        except SafetensorError as error:
            reason = str(error).splitlines()[0][:120]
            raise UserError(
                f"{file} is damaged or no safetensors ({reason}); restore it"
            ) from error
        return [
            Held(opened, key, tuple(held.get_shape()), held.get_dtype())
            for key, held in slices.items()
        ]


def digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the files' SHA-256s, or of a single file itself."""
    hashes = []
    for path in files:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds."""
    try:
        value = json.loads(existing_file(path).read_text("utf-8"))
    except ValueError as error:
        if not isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            raise
        raise UserError(f"{path} is no JSON ({error}); restore it") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not an object; restore it")
    return value


def _files(folder: Path) -> list[Path]:
    """Return the files that hold the tensors."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return [folder / name for name in _listed(folder / INDEX)]
    pickles = sorted(path.name for kind in PICKLES for path in folder.glob(kind))
    if pickles:
        raise UserError(
            f"{folder} holds {pickles[0]} but no {WEIGHTS}: a pickle can run a program when it is"
            " read, and is not; have its owner save it as safetensors"
        )
    raise UserError(f"{folder} holds no {WEIGHTS}; give the folder of a model")


def _listed(index: Path) -> list[str]:
    """Return the names of files that an index lists; they must lie beside it."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise UserError(f"{index} has no weight_map; restore it")
    files = sorted({str(name) for name in names.values()})
    for name in files:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{index} names {name!r}, which is no safetensors file beside it")
    return files


def _full(key: str, base: str) -> str:
    """Return a name as it is in the model with its head."""
    return key if key.startswith((base, "lm_head.")) else base + key
