"""A checkpoint of ours from a folder of a GPT-2, Llama or Qwen3."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.checkpoint import describe, provenance
from core.errors import UserError
from text.hf_config import CONFIG, read_config
from text.hf_folder import HFFolder, digest, read_json
from text.hf_tokenizer import read_hf_tokenizer
from text.hf_weights import HEAD, NET, Piece, Shape, weight_map
from text.model import TextConfig, TextModel
from text.module import TextModule
from text.tokenizer import TextTokenizer
from text.tokenizer_files import STATE

GENERATION = "generation_config.json"


def read_hf(source: Path) -> dict[str, Any]:
    """Return a checkpoint with the model, its tokenizer and where it came from.

    Raises:
        ValueError: if the folder holds another kind of model, damage, pickles only, or parts that
            do not fit each other.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder; give one with {CONFIG} and model.safetensors")
    told = read_json(source / CONFIG)
    config = read_config(told, str(source / CONFIG))
    with HFFolder(source, "transformer." if config.layout == "gpt2" else "model.") as folder:
        _check(folder, config)
        tokenizer = read_hf_tokenizer(source, _with_ends(told, source))
        weights = _read(folder, config)
        origin = f"{config.layout} in {source.resolve().name}, weights {digest(folder.files)}"
    return _checkpoint(config, weights, tokenizer, origin)


def _check(folder: HFFolder, config: TextConfig) -> None:
    """Raise unless the folder holds what its configuration says."""
    if config.depth > len(folder):
        raise UserError(
            f"{folder.folder} holds {len(folder)} tensors but its {CONFIG} says {config.depth}"
            " blocks; take both from one place"
        )
    own, wanted = _shapes(config), {}
    for name, piece in weight_map(config).items():
        wanted |= piece.shapes(own[name])
    folder.check(wanted, _spare(config))


def _read(folder: HFFolder, config: TextConfig) -> dict[str, Tensor]:
    """Return the weights of our network."""
    pieces: dict[str, Piece] = weight_map(config)
    weights = {name: piece.read(folder.get) for name, piece in pieces.items()}
    head = folder.get(HEAD) if config.tied and HEAD in folder else None
    if head is not None and not torch.equal(head, weights["embed.weight"]):
        raise UserError(
            f"{folder.folder} holds a head that is not the embedding table, but its {CONFIG} says"
            " it is; write tie_word_embeddings false there"
        )
    return weights | {"null": torch.zeros(_shapes(config)["null"])}


def _shapes(config: TextConfig) -> dict[str, Shape]:
    with torch.device("meta"):
        return {name: tuple(w.shape) for name, w in TextModel(config).state_dict().items()}


def _spare(config: TextConfig) -> list[str]:
    """Return what files hold besides: masks, frequencies, a head that is the table."""
    spare = [HEAD] if config.tied else []
    for i in range(config.depth):
        spare += [f"transformer.h.{i}.attn.{mask}" for mask in ("bias", "masked_bias")]
        spare.append(f"model.layers.{i}.self_attn.rotary_emb.inv_freq")
    return spare


def _with_ends(told: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Return config.json with the ends of generation_config.json, which may name more."""
    ends: list[int] = []
    generation = source / GENERATION
    for config in (told, read_json(generation) if generation.exists() else {}):
        end = config.get("eos_token_id")
        ends += end if isinstance(end, list) else [] if end is None else [end]
    return dict(told) | {"eos_token_id": ends}


def _checkpoint(
    config: TextConfig, weights: Mapping[str, Tensor], tokenizer: TextTokenizer, origin: str
) -> dict[str, Any]:
    with torch.device("meta"):
        module = TextModule(config)
    module.codec.use(tokenizer)
    state = {NET + name: value for name, value in weights.items()}
    return {
        "state_dict": state | {STATE: module.codec.get_extra_state()},
        "unison": describe(module) | provenance() | {"seed": module.seed, "origin": origin},
        "global_step": 0,
    }
