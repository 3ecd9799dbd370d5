"""A hash of nested plain values and tensors: of what they say, not of how they are written."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch


def content_hash(checkpoint: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a checkpoint holds but the hash itself.

    It is of the values, not of the file: a copy that was loaded and saved again has the same.
    """
    hasher = hashlib.sha256()
    _feed(hasher, {key: value for key, value in checkpoint.items() if key != "sha256"})
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    """Hash a value with its type, so that no two nested values are written alike."""
    if isinstance(value, torch.Tensor):
        hasher.update(f"tensor {value.dtype} {list(value.shape)};".encode())
        flat = value.detach().cpu().contiguous().flatten()
        hasher.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    elif isinstance(value, Mapping):
        hasher.update(f"dict {len(value)};".encode())
        for key, held in value.items():
            _feed(hasher, key)
            _feed(hasher, held)
    elif isinstance(value, list | tuple):
        hasher.update(f"list {len(value)};".encode())
        for held in value:
            _feed(hasher, held)
    else:
        written = repr(value).encode()
        hasher.update(f"{type(value).__name__} {len(written)};".encode() + written)
