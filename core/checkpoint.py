"""Checkpoints that rebuild their module alone and say where they come from."""

import dataclasses
import os
import platform
import subprocess
import zipfile
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch import nn

VERSION = 1
"""Layout of the `unison` entry; raised when an older reader could misread it."""

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs, and renames: a kill leaves the old file or the new one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None
    ) -> None:
        """Write a checkpoint so that it is there as a whole or not at all."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def describe(module: Any) -> dict[str, Any]:
    """Return what rebuilds a module: its kind and its constructor's arguments, as plain values."""
    return {"kind": module.kind, "version": VERSION, "init": to_plain(dict(module.hparams))}


def provenance() -> dict[str, str]:
    """Return the code and the machine that a run came from."""
    root = Path(__file__).resolve().parents[1]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": commit.stdout.strip() or "unknown",
        "torch": str(torch.__version__),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.python_version()}",
    }


def read_checkpoint(path: str | Path, kind: str) -> dict[str, Any]:
    """Return a checkpoint's dictionary after checking that it is ours, whole, and of this kind.

    Raises:
        ValueError: if the file is missing, damaged, foreign, or of another kind or version.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not there; train one with: python -m {_trainer(kind)}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged or no checkpoint; train it again or restore it")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0][:120]
        raise ValueError(f"{path} cannot be read safely ({reason}); restore it") from error
    ours = checkpoint.get("unison") if isinstance(checkpoint, dict) else None
    if ours is None:
        raise ValueError(f"{path} was not written by Unison; give a last.ckpt of a run")
    if ours["version"] != VERSION:
        raise ValueError(
            f"{path} has checkpoint version {ours['version']}, this code reads {VERSION};"
            f" use the commit that wrote it ({ours.get('commit', 'unknown')}) or train again"
        )
    if ours["kind"] != kind:
        raise ValueError(f"{path} holds a {ours['kind']} model but a {kind} model is needed")
    return checkpoint


def load_module(path: str | Path, cls: type[M], *, ema: bool = True) -> M:
    """Rebuild a module from its checkpoint alone, in eval mode, with averaged weights by default.

    Nothing is unpickled but tensors and plain values.
    """
    checkpoint = read_checkpoint(path, cls.kind)  # pyright: ignore[reportAttributeAccessIssue]
    module = from_plain(cls, checkpoint["unison"]["init"])
    load_weights(module, checkpoint, ema=ema)
    return module.eval()


def load_weights(module: nn.Module, checkpoint: dict[str, Any], *, ema: bool = True) -> None:
    """Put a checkpoint's weights into a module of the same shape."""
    weights = checkpoint["state_dict"] | (checkpoint.get("ema", {}) if ema else {})
    module.load_state_dict(weights)


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
        raise ValueError(
            f"the checkpoint's configuration does not fit this code: {line}"
        ) from error


def _trainer(kind: str) -> str:
    special = {"alignment": "multimodal.train", "prior": "multimodal.train_prior"}
    return special.get(kind, "audio.train_vocoder" if kind == "vocoder" else f"{kind}.train")
