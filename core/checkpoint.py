"""Checkpoints that rebuild their module alone, say where they come from, and show any damage.

    python -m core.checkpoint show runs/quickstart/image/last.ckpt
    python -m core.checkpoint verify runs/quickstart
    python -m core.checkpoint export runs/quickstart/image/last.ckpt --out image.safetensors

A checkpoint is Lightning's dictionary with two entries more: `unison` rebuilds the module and names
its origin, `sha256` is a hash of everything else in it (older ones lack it). It is a file, or the
folder that sharded training writes (`core.checkpoint_folder`): what reads one reads the other.
"""

import json
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch import nn

from core.checkpoint_folder import (
    folder_size,
    is_folder_checkpoint,
    read_folder,
    read_index,
    save_tensors,
)
from core.cli import command, positional
from core.content_hash import content_hash
from core.errors import UserError
from core.files import new_file, sync_folder
from core.plain import from_plain, to_plain

VERSION = 1
"""Layout of a checkpoint; raised when an older reader could misread it."""

SAFE = ".safetensors"

M = TypeVar("M", bound=nn.Module)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs, and renames: a kill leaves the old file or the new one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None
    ) -> None:
        """Write a checkpoint so that it is there as a whole or not at all."""
        checkpoint["sha256"] = content_hash(checkpoint)
        path = Path(path)
        with new_file(path) as partial:
            save_tensors(checkpoint, partial, path)
        sync_folder(path.parent)

    def load_checkpoint(
        self, path: str | os.PathLike, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, a folder that ranks wrote among them."""
        if Path(path).is_dir():
            return read_folder(Path(path))
        return super().load_checkpoint(Path(path), map_location, weights_only)


def describe(module: Any) -> dict[str, Any]:
    """Return what rebuilds a module: its kind and its constructor's arguments, as plain values."""
    return {"kind": module.kind, "version": VERSION, "init": to_plain(dict(module.hparams))}


def provenance() -> dict[str, str]:
    """Return the code and the machine that a run came from."""
    return {
        "commit": _commit(Path(__file__).resolve().parents[1]),
        "torch": str(torch.__version__),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.python_version()}",
    }


def _commit(root: Path) -> str:
    """Return the commit of our checkout, if it is one: an installed package may lie in another."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    if not (root / ".git").exists():
        return "unknown"
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return "unknown"
    return done.stdout.strip() or "unknown"


def read_checkpoint(path: str | Path, kind: str | None = None) -> dict[str, Any]:
    """Return a checkpoint's dictionary after checking that it is ours, whole, and of this kind.

    Args:
        kind: What the checkpoint must hold; None takes any.

    Raises:
        ValueError: if the file is missing, damaged, foreign, or of another kind or version.
    """
    path = Path(path)
    if not path.exists():
        way = f"train one with: python -m {_trainer(kind)}" if kind else "check the path"
        raise UserError(f"{path} is not there; {way}")
    try:
        checkpoint = _read_any(path)
    except Exception as error:
        if isinstance(error, UserError):
            raise
        reason = str(error).splitlines()[0][:120]
        raise UserError(f"{path} cannot be read safely ({reason}); restore it") from error
    _check(checkpoint, path, kind)
    return checkpoint


def _read_any(path: Path) -> Any:
    if path.is_dir():
        return read_folder(path)
    return _read_export(path) if path.suffix == SAFE else _read_zip(path)


def _read_zip(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged or no checkpoint; train it again or restore it")
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_export(path: Path) -> dict[str, Any]:
    """Return what `export` wrote in the form of a checkpoint."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        held = json.loads((file.metadata() or {}).get("unison", "{}"))
        return held | {"state_dict": {n: file.get_tensor(n) for n in sorted(file.keys())}}


def _check(checkpoint: Any, path: Path, kind: str | None) -> None:
    """Raise unless the values are those of a checkpoint that this code reads."""
    ours = checkpoint.get("unison") if isinstance(checkpoint, dict) else None
    if not isinstance(ours, dict) or not {"kind", "version"} <= ours.keys():
        raise UserError(f"{path} was not written by Unison; give a last.ckpt of a run")
    if ours["version"] != VERSION:
        raise UserError(
            f"{path} has checkpoint version {ours['version']}, this code reads {VERSION};"
            f" use the commit that wrote it ({ours.get('commit', 'unknown')}) or train again"
        )
    # Older checkpoints, and those of a plain Trainer, have no hash.
    if "sha256" in checkpoint and checkpoint["sha256"] != content_hash(checkpoint):
        raise UserError(f"{path} is damaged: its content has another hash; restore it")
    if kind is not None and ours["kind"] != kind:
        raise UserError(f"{path} holds a {ours['kind']} model but a {kind} model is needed")


def load_module(path: str | Path, cls: type[M], *, ema: bool = True) -> M:
    """Rebuild a module from its checkpoint alone, in eval mode, with averaged weights by default.

    Nothing is unpickled but tensors and plain values.
    """
    return load_with_record(path, cls, ema=ema)[0]


def load_with_record(
    path: str | Path, cls: type[M], *, ema: bool = True
) -> tuple[M, dict[str, Any]]:
    """Return what `load_module` does, and the checkpoint, with all else that it records."""
    checkpoint = read_checkpoint(path, cls.kind)  # pyright: ignore[reportAttributeAccessIssue]
    module = from_plain(cls, checkpoint["unison"]["init"])
    try:
        load_weights(module, checkpoint, ema=ema)
    except UserError as error:
        commit = checkpoint["unison"].get("commit", "unknown")
        raise UserError(f"{path}, written at commit {commit}: {error}") from error
    return module.eval(), checkpoint


def load_weights(module: nn.Module, checkpoint: Mapping[str, Any], *, ema: bool = True) -> None:
    """Put a checkpoint's weights into a module of the same shape.

    Raises:
        ValueError: if the module's weights are others; it names the first that differ.
    """
    weights = checkpoint["state_dict"] | (checkpoint.get("ema", {}) if ema else {})
    check_weights(module, weights)
    module.load_state_dict(weights)


def check_weights(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the first differences if weights are not a module's own."""
    own = module.state_dict()
    differ = [f"{name} is missing" for name in own if name not in weights]
    differ += [f"{name} is not known" for name in weights if name not in own]
    differ += [
        f"{name} is {list(weights[name].shape)}, here {list(value.shape)}"
        for name, value in own.items()
        # An extra state, such as a tokenizer, may be of any length.
        if name in weights and "_extra_state" not in name and weights[name].shape != value.shape
    ]
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise UserError(
            f"the checkpoint's weights do not fit this model: {'; '.join(differ[:3])}{more};"
            " use the options and the commit that it was trained with"
        )


def _trainer(kind: str) -> str:
    special = {"alignment": "multimodal.train", "prior": "multimodal.train_prior"}
    return special.get(kind, "audio.train_vocoder" if kind == "vocoder" else f"{kind}.train")


def show(path: Path) -> None:
    """Print what a checkpoint holds.

    Args:
        path: A last.ckpt of a run, or what `export` wrote.
    """
    checkpoint = read_checkpoint(path)
    for name, line in _facts(checkpoint, path).items():
        print(f"{name:<12}{line}")
    print(yaml.safe_dump({"init": checkpoint["unison"]["init"]}, sort_keys=False), end="")


def _facts(checkpoint: Mapping[str, Any], path: Path) -> dict[str, str]:
    ours, weights = checkpoint["unison"], checkpoint["state_dict"]
    hashed = checkpoint.get("sha256")
    facts = {
        "kind": f"{ours['kind']}, layout {ours['version']}",
        "hash": f"{hashed[:16]}..., agrees" if hashed else _no_hash(path),
        "written by": f"commit {ours.get('commit', 'unknown')}, torch {ours.get('torch', '?')}",
        **({"converted": f"from {ours['origin']}"} if "origin" in ours else {}),
        "on": ours.get("machine", "unknown"),
        "trained": f"{checkpoint.get('global_step', 0):,} steps, seed {ours.get('seed', '?')}",
        "weights": f"{sum(w.numel() for w in weights.values()):,} in {len(weights)} tensors",
        "average": f"of {len(checkpoint['ema'])} tensors" if "ema" in checkpoint else "none",
        "file": f"{_size(path) / 2**20:.1f} MiB",
    }
    order = data_order(checkpoint)
    if order:
        facts["data"] = (
            f"{order['batches_consumed']} batches of {order['global_batch']} into epoch"
            f" {order['epoch']} of {order['dataset_id'][:12]}"
        )
    return facts


def _no_hash(path: Path) -> str:
    return f"of each of {len(read_index(path))} files, agrees" if path.is_dir() else "none"


def _size(path: Path) -> int:
    return folder_size(path) if path.is_dir() else path.stat().st_size


def data_order(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of the data module, which Lightning keeps under its class's name.

    It is empty for what was not trained on shards.
    """
    states = (v for v in checkpoint.values() if isinstance(v, Mapping) and "dataset_id" in v)
    return next(states, {})


def verify(path: Path) -> None:
    """Check a checkpoint, or all below a folder: read, layout, hash.

    Args:
        path: A file, or a folder with *.ckpt files somewhere below.
    """
    below = sorted(p for p in path.rglob("*.ckpt") if not p.name.startswith("."))
    files = [path] if path.is_file() or is_folder_checkpoint(path) else below
    if not files:
        raise UserError(f"{path} holds no checkpoint; give a file or the folder of a run")
    wrong = []
    for file in files:
        try:
            found = read_checkpoint(file)
            whole = "sha256" in found or file.is_dir()
            state = "whole" if whole else "can be read, has no hash"
            print(f"{file}: {found['unison']['kind']}, {state}")
        except UserError as error:
            wrong.append(error)
            print(f"{error}")
    if wrong:
        raise UserError(f"{len(wrong)} of {len(files)} checkpoints cannot be used; restore them")


def export(path: Path, out: Path, raw: bool = False) -> None:
    """Write the weights alone as safetensors, with what rebuilds the module in the metadata.

    Args:
        path: A last.ckpt of a run.
        out: File to write, *.safetensors; every command that takes a checkpoint takes it.
        raw: The weights that training goes on with instead of their average.
    """
    from safetensors.torch import save_file

    if out.suffix != SAFE:
        raise UserError(f"{out} must end in {SAFE}; choose another --out")
    checkpoint = read_checkpoint(path)
    weights = checkpoint["state_dict"] | ({} if raw else checkpoint.get("ema", {}))
    weights = {name: value.clone().contiguous() for name, value in weights.items()}
    held = {"unison": checkpoint["unison"], "global_step": checkpoint.get("global_step", 0)}
    held["sha256"] = content_hash(held | {"state_dict": dict(sorted(weights.items()))})
    with new_file(out) as partial:
        save_file(weights, partial, {"unison": json.dumps(held)})
    print(f"{out}: {len(weights)} tensors, {out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    command({"show": show, "verify": verify, "export": export}, positional(sys.argv[1:], "--path"))
