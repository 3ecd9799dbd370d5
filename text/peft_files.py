"""Adapters as folders in the layout of PEFT, Hugging Face's library, for Llama's and Qwen3's maps.

adapter_config.json and adapter_model.safetensors. Where our maps are fused, the adapters are not:
q, k, v, gate and up each have their own, so nothing is lost in either direction. An MLP of ReLU
squared is a gated one whose gate is its other half: both have the same adapter.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from core.errors import UserError
from core.files import existing_file, new_folder
from text.low_rank import LoRA, Part, part_sizes
from text.model import TextConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
THEIRS: dict[Part, str] = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
"""Our part of a block -> their module in a layer."""
HALVES = {"down": "lora_A", "up": "lora_B"}
"""Our matrix of an adapter -> theirs."""
PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False,),
    "use_rslora": (False,),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layers_to_transform": (None,),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None,),
    "fan_in_fan_out": (False,),
    "target_parameters": (None, []),
}
"""What a key must be, if it is there, for us to compute the same."""


def write_adapter(
    folder: Path, lora: LoRA, config: TextConfig, weights: Mapping[str, Tensor], base: str
) -> None:
    """Write an adapter.

    Args:
        folder: What to write; it must not exist.
        lora: Its options.
        config: Of the model that it is for.
        weights: The adapters' matrices by their names in the network.
        base: What the model is called, for the reader.
    """
    from safetensors.torch import save_file

    names = adapter_names(lora, config)
    held = {
        theirs: weights[ours].float().contiguous().clone()
        for ours, all_of_theirs in names.items()
        for theirs in all_of_theirs
    }
    modules = sorted({name.rsplit(".", 3)[1] for name in held})
    about = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": modules,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    with new_folder(folder) as partial:
        (partial / CONFIG).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        save_file(held, partial / WEIGHTS, {"format": "pt"})


def read_adapter(folder: Path, config: TextConfig) -> tuple[LoRA, dict[str, Tensor]]:
    """Return an adapter's options, and its matrices by their names in our network.

    Args:
        folder: What PEFT or `write_adapter` wrote.
        config: Of the model that it is for.

    Raises:
        ValueError: if it is for a model of another shape, or has what is not computed here.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    about = _read_config(folder / CONFIG)
    try:
        held = load_file(existing_file(folder / WEIGHTS))
    except SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS} is damaged ({error}); restore it") from error
    lora = _options(about, held, config, folder)
    found = {}
    for ours, theirs in adapter_names(lora, config).items():
        if missing := [name for name in theirs if name not in held]:
            raise UserError(f"{folder / WEIGHTS} lacks {missing[0]}; take the adapter's whole file")
        found[ours] = held.pop(theirs[0]).float()
        if any(not held.pop(name).float().equal(found[ours]) for name in theirs[1:]):
            raise UserError(
                f"{folder} adapts {' and '.join(theirs)} differently, which are one map in an MLP "
                f"of kind {config.mlp}; use a model with --model.model.mlp swiglu"
            )
    if held:
        raise UserError(f"{folder / WEIGHTS} has {min(held)}, which this model has no place for")
    return lora, found


def adapter_names(lora: LoRA, config: TextConfig) -> dict[str, list[str]]:
    """Return, for each of our adapters' matrices, the names that PEFT has for it."""
    names: dict[str, list[str]] = {}
    for layer in range(config.depth):
        for place, parts in part_sizes(config).items():
            for part in parts:
                if lora.targets is not None and part not in lora.targets:
                    continue
                for ours, theirs in HALVES.items():
                    names[f"blocks.{layer}.{place}.adapters.{part}.{ours}"] = [
                        f"base_model.model.model.layers.{layer}.{module}.{theirs}.weight"
                        for module in _modules(part, config)
                    ]
    return names


def _modules(part: Part, config: TextConfig) -> list[str]:
    """Return their modules of a part: two where a gate and its other half are one map."""
    if part == "up" and config.mlp == "relu2":
        return [THEIRS["up"], THEIRS["gate"]]
    return [THEIRS[part]]


def _read_config(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(existing_file(path).read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON ({error}); restore it") from error
    if not isinstance(about, dict) or about.get("peft_type") != "LORA":
        raise UserError(f"{path} describes no LoRA adapter of PEFT; give one")
    for key, values in PLAIN.items():
        if key in about and about[key] not in values:
            raise UserError(
                f"{path} says {key} is {about[key]!r}, which is not computed here; it must be "
                f"{values[0]!r}"
            )
    return about


def _options(
    about: Mapping[str, Any], held: Mapping[str, Tensor], config: TextConfig, folder: Path
) -> LoRA:
    """Return the options of an adapter; which parts it has is read from its tensors."""
    here = {part for parts in part_sizes(config).values() for part in parts}
    named = {name.rsplit(".", 2)[0].rpartition("layers.")[2].partition(".")[2] for name in held}
    targets = tuple(p for p in get_args(Part) if p in here and set(_modules(p, config)) & named)
    if not targets:
        raise UserError(f"{folder} adapts none of {', '.join(THEIRS.values())}; give another")
    try:
        return LoRA(int(about["r"]), float(about["lora_alpha"]), targets)
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} has no r or lora_alpha; restore it") from error
