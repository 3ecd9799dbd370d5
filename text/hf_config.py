"""The config.json of GPT-2, Llama and Qwen3 beside our own configuration, in both directions.

What a file says of a model that we could not compute exactly is an error.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import torch

from core.errors import UserError
from text.decoder import MLPKind
from text.model import LayoutName, TextConfig
from text.rotary import LinearStretch, Llama3Stretch, Stretch

Family = Literal["gpt2", "llama", "qwen3"]
"""The models of others that are read and written: `model_type` in config.json."""
CONFIG = "config.json"

GPT2 = {
    "width": "n_embd",
    "depth": "n_layer",
    "heads": "n_head",
    "context": "n_positions",
    "vocabulary": "vocab_size",
    "hidden": "n_inner",
}
ROTARY = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "context": "max_position_embeddings",
    "vocabulary": "vocab_size",
    "hidden": "intermediate_size",
    "kv_heads": "num_key_value_heads",
    "head_width": "head_dim",
}
SIZES: dict[Family, dict[str, str]] = {"gpt2": GPT2, "llama": ROTARY, "qwen3": ROTARY}
"""Our field -> their key."""
LEFT_OUT = {"hidden", "kv_heads", "head_width"}
"""What the file may leave out, and is then as in ours."""
TIED: dict[Family, bool] = {"gpt2": True, "llama": False, "qwen3": False}
"""Whether the head is the embedding table where the file does not tell."""
DENSE = {"attention_bias": (False,), "hidden_act": ("silu", "relu")}
NEEDED: dict[Family, dict[str, tuple[Any, ...]]] = {
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    "llama": DENSE | {"mlp_bias": (False,)},
    "qwen3": DENSE | {"use_sliding_window": (False,)},
}
"""What a key must be for us to compute the same; one that is left out is the first."""
GATED: dict[str, MLPKind] = {"silu": "swiglu", "relu": "relu2"}
"""Of an MLP with a gate, its function and ours: relu(x) * x is the square of relu(x)."""
ARCHITECTURES: dict[Family, str] = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
LAYER_EPS = 1e-5
FLOAT32_EPS = torch.finfo(torch.float32).eps


def read_config(config: Mapping[str, Any], name: str) -> TextConfig:
    """Return our configuration of the model that a config.json describes.

    Args:
        config: What the file holds.
        name: The file, for messages.

    Raises:
        ValueError: if the model is of another family, or has a part that we do not compute.
    """
    family = _family(config, name)
    _check_parts(config, family, name)
    sizes: dict[str, Any] = {
        ours: _size(config, ours, theirs, name) for ours, theirs in SIZES[family].items()
    }
    gpt2 = family == "gpt2"
    try:
        return TextConfig(
            **sizes,
            **({} if gpt2 else _rope(config, name)),
            prefix=0,
            mlp="gelu" if gpt2 else GATED[config.get("hidden_act", "silu")],
            layout=family,
            tied=bool(config.get("tie_word_embeddings", TIED[family])),
            eps=float(config.get(_eps_key(family), LAYER_EPS if gpt2 else 1e-6)),
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"{name} describes no model that can be built: {error}") from error


def write_config(config: TextConfig) -> dict[str, Any]:
    """Return what config.json says of a model of one of the families.

    Args:
        config: Of the model; `hidden` is given.
    """
    family = family_of(config.layout)
    assert family == config.layout, "embeddings of our own layout must be normalised first"
    chosen = {"kv_heads": config.attention.kv_heads, "head_width": config.attention.head_width}
    sizes = vars(config) | chosen
    return {
        "model_type": family,
        "architectures": [ARCHITECTURES[family]],
        **{theirs: sizes[ours] for ours, theirs in SIZES[family].items()},
        _eps_key(family): config.eps or (LAYER_EPS if family == "gpt2" else FLOAT32_EPS),
        "tie_word_embeddings": config.tied,
        **({"activation_function": "gelu_new"} if family == "gpt2" else _rotary_keys(config)),
        "dtype": "float32",
    }


def family_of(layout: LayoutName) -> Family:
    """Return the family whose computation a layout's is; ours is Qwen3's but for embeddings."""
    return "qwen3" if layout == "unison" else layout


def check_can_leave(config: TextConfig, name: str) -> None:
    """Raise a ValueError that tells what a model has and its family does not.

    Args:
        config: Of the model.
        name: The checkpoint, for the message.
    """
    for reason in _reasons(config, family_of(config.layout)):
        raise UserError(f"{name} cannot be written as {family_of(config.layout)}: it has {reason}")


def _reasons(config: TextConfig, family: Family) -> Iterator[str]:
    """Yield why a model cannot be told exactly by a config.json."""
    attention, gated = config.attention, family != "gpt2"
    if config.prefix:
        yield (
            f"{config.prefix} condition tokens before the text, which a language model has not;"
            " train one with --model.model.prefix 0"
        )
    if config.softcap is not None:
        yield f"logits bound by a softcap of {config.softcap}; train without"
    if (config.mlp == "gelu") is gated:
        kinds = "swiglu or relu2" if gated else "gelu"
        yield f"an MLP of kind {config.mlp}; that of {family} is {kinds}"
    if not gated and attention.kv_heads != config.heads:
        yield f"{attention.kv_heads} heads of keys for {config.heads} of queries; gpt2 has as many"
    if not gated and attention.head_width * config.heads != config.width:
        yield f"heads of {attention.head_width} channels; those of gpt2 are of width / heads"
    if family == "llama" and config.width % config.heads:
        yield f"a width {config.width} that is no multiple of its {config.heads} heads"


def _family(config: Mapping[str, Any], name: str) -> Family:
    for family in get_args(Family):
        if config.get("model_type") == family:
            return family
    raise UserError(
        f"{name} describes a model of type {config.get('model_type')!r};"
        f" {', '.join(get_args(Family))} can be read, without mixtures of experts"
    )


def _check_parts(config: Mapping[str, Any], family: Family, name: str) -> None:
    for key, values in NEEDED[family].items():
        if config.get(key, values[0]) not in values:
            raise UserError(
                f"{name} says {key} is {config[key]!r}, which is not computed here; it must be"
                f" {' or '.join(map(repr, values))}"
            )
    windowed = set(config.get("layer_types") or ()) - {"full_attention"}
    if windowed:
        raise UserError(
            f"{name} has layers of type {', '.join(sorted(windowed))}; all must be full_attention"
        )
    if config.get("quantization_config"):
        raise UserError(
            f"{name} describes quantised weights; take the model's original in bfloat16 or float32"
        )


def _size(config: Mapping[str, Any], ours: str, theirs: str, name: str) -> int | None:
    value = config.get(theirs)
    if value is None and ours in LEFT_OUT:
        return None
    if type(value) is not int or value < 1:
        raise UserError(f"{name} says {theirs} is {value!r}; it must be a whole number above 0")
    return value


def _rope(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return base and stretch of the rotary positions, as older and newer files name them."""
    rope = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    kind = rope.get("rope_type", rope.get("type", "default"))
    whole = rope.get("partial_rotary_factor", config.get("partial_rotary_factor")) in (None, 1)
    if kind not in ("default", "linear", "llama3") or not whole:
        what = f"scales positions by {kind}" if whole else "turns a part of the channels only"
        raise UserError(
            f"{name} {what}, which is not computed here; rope_type default, linear and llama3 are,"
            " over whole heads"
        )
    base = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    try:
        return {"rope_base": float(base), "rope_stretch": _stretch(kind, rope)}
    except KeyError as error:
        raise UserError(f"{name} scales positions by {kind} but has no {error}") from error


def _stretch(kind: str, rope: Mapping[str, Any]) -> Stretch | None:
    if kind == "linear":
        return LinearStretch(float(rope["factor"]))
    if kind == "llama3":
        return Llama3Stretch(
            float(rope["factor"]),
            float(rope["low_freq_factor"]),
            float(rope["high_freq_factor"]),
            int(rope["original_max_position_embeddings"]),
        )
    return None


def _rotary_keys(config: TextConfig) -> dict[str, Any]:
    """Return what only models with rotary positions say, in the words of old and new programs."""
    match config.rope_stretch:
        case LinearStretch(factor):
            scaling = {"rope_type": "linear", "factor": factor}
        case Llama3Stretch(factor, low, high, old_context):
            scaling = {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": old_context,
            }
        case None:
            scaling = {"rope_type": "default"}
    return {
        "hidden_act": {ours: theirs for theirs, ours in GATED.items()}[config.mlp],
        "attention_bias": False,
        "rope_theta": config.rope_base,
        "rope_scaling": None if config.rope_stretch is None else scaling,
        "rope_parameters": scaling | {"rope_theta": config.rope_base},
    }


def _eps_key(family: Family) -> str:
    return "layer_norm_epsilon" if family == "gpt2" else "rms_norm_eps"
