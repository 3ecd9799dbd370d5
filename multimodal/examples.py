"""A handful of sources and what each direction made of them, kept for people to see and hear."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.files import new_folder
from multimodal.tuples import Signals


@dataclass(frozen=True)
class Examples:
    """A few signals a modality and all that was generated from them."""

    sources: Signals
    """What was observed: the k-th example of each source modality."""
    outputs: Mapping[str, Signals]
    """Source modality to the signals generated from it, the k-th from the k-th source."""
    joint: Signals
    """Unconditional samples: the k-th of each modality were sampled together."""


def save_examples(folder: Path, examples: Examples) -> None:
    """Write examples as files; see `save_batches`."""
    batches = {f"sources/{m}": x for m, x in examples.sources.items()}
    batches |= {f"joint/{m}": x for m, x in examples.joint.items()}
    for source, outputs in examples.outputs.items():
        batches |= {f"{source}->/{m}": x for m, x in outputs.items()}
    save_batches(folder, batches)


def load_examples(folder: Path) -> Examples:
    """Read what `save_examples` wrote."""
    groups = load_batches(folder)
    sources, joint = groups.pop("sources"), groups.pop("joint")
    return Examples(sources, {k.removesuffix("->"): v for k, v in groups.items()}, joint)


def save_batches(folder: Path, batches: Mapping[str, Any]) -> None:
    """Write batches named group/name, tensors as 16-bit integers (samples.safetensors) and texts.

    The folder is replaced.
    """
    tensors = {k: _quantise(x) for k, x in batches.items() if isinstance(x, Tensor)}
    texts = {k: x for k, x in batches.items() if not isinstance(x, Tensor)}
    with new_folder(folder, replace=True) as partial:
        save_file(tensors, partial / "samples.safetensors")
        (partial / "samples.json").write_text(json.dumps(texts, ensure_ascii=False, indent=1))


def load_batches(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what `save_batches` wrote: group -> name -> batch."""
    tensors = load_file(folder / "samples.safetensors")
    batches: dict[str, Any] = {k: x.float() / 32767 for k, x in tensors.items()}
    batches |= json.loads((folder / "samples.json").read_text())
    groups: dict[str, dict[str, Any]] = {}
    for key, batch in batches.items():
        group, name = key.split("/")
        groups.setdefault(group, {})[name] = batch
    return groups


def filmstrip(clip: Tensor, columns: int) -> Tensor:
    """Frames of a clip [F 3 H W] in rows of so many, a pixel of grey between: [3 H2 W2]."""
    padded = torch.nn.functional.pad(clip, (0, 1, 0, 1), value=0.0)
    sheet = rearrange(padded, "(R K) C H W -> C (R H) (K W)", K=columns)
    return sheet[:, :-1, :-1]


def _quantise(signal: Tensor) -> Tensor:
    return (signal.detach().cpu().clamp(-1, 1) * 32767).round().to(torch.int16).contiguous()
