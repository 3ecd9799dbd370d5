"""A folder that `transformers` loads, from a checkpoint of ours."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from core.checkpoint import load_weights, read_checkpoint
from core.errors import UserError
from core.files import new_folder
from core.model_card import Card, write_card
from core.plain import from_plain
from text.hf_config import CONFIG, check_can_leave, write_config
from text.hf_folder import WEIGHTS
from text.hf_read import GENERATION
from text.hf_tokenizer import roles_of, write_hf_tokenizer
from text.hf_weights import unison_as_qwen3, weight_map
from text.model import TextConfig
from text.module import TextModule

SUMMARY = (
    "A language model of {weights:,} weights in the layout of {family}: {depth} blocks of width"
    " {width}, {heads} heads of queries and {kv_heads} of keys and values, {vocabulary:,} rows in"
    " its table, a context of {context:,} tokens."
)
USE = """It needs `torch` and `transformers`.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
inputs = tokenizer("Once", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40)[0]))
```"""


def write_hf(checkpoint: Path, out: Path, *, raw: bool) -> None:
    """Write config.json, the weights, the tokenizer and a README.

    Args:
        checkpoint: A text model's.
        out: Folder to write; it must not exist.
        raw: The weights that training goes on with instead of their average.

    Raises:
        ValueError: if the model cannot be told exactly, or the checkpoint is not one of a text
            model.
    """
    found = read_checkpoint(checkpoint, TextModule.kind)
    if found["unison"]["init"].get("lora"):
        raise UserError(
            f"{checkpoint} has its low-rank changes beside its weights; put them in first with: "
            f"python -m text.lora merge --checkpoint {checkpoint} --out merged.ckpt"
        )
    module: TextModule = from_plain(TextModule, found["unison"]["init"])
    load_weights(module, found, ema=not raw)
    config, weights = _as_family(module, str(checkpoint))
    with new_folder(out) as folder:
        _write_config(folder, config, module)
        write_hf_tokenizer(module.codec.tokenizer, folder, config.context)
        count = _write_weights(folder / WEIGHTS, config, weights)
        card = _card(config, out.name, count)
        write_card(folder, card, found, checkpoint, raw=raw, target=None)
    print(f"{out}: {config.layout}, {count:,} weights")


def _as_family(module: TextModule, name: str) -> tuple[TextConfig, Mapping[str, Tensor]]:
    """Return the model as one of a family's own layout, all its sizes told."""
    config, weights = module.net.config, module.net.state_dict()
    check_can_leave(config, name)
    if not module.codec.fitted:
        raise UserError(f"{name} holds no tokenizer; give a checkpoint of a run")
    if config.layout == "unison":
        config, weights = unison_as_qwen3(config, weights)
    return replace(config, hidden=weights["blocks.0.mlp.out.weight"].shape[1]), weights


def _write_config(folder: Path, config: TextConfig, module: TextModule) -> None:
    roles = {f"{role}_token_id": None for role in ("bos", "eos", "pad")}
    roles |= {f"{role}_token_id": n for role, n in roles_of(module.codec.tokenizer).items()}
    for name, value in {CONFIG: write_config(config) | roles, GENERATION: roles}.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _write_weights(path: Path, config: TextConfig, weights: Mapping[str, Tensor]) -> int:
    """Write the tensors and return how many numbers they are."""
    from safetensors.torch import save_file

    theirs: dict[str, Tensor] = {}
    for name, piece in weight_map(config).items():
        theirs |= piece.write(weights[name])
    save_file({n: w.contiguous() for n, w in theirs.items()}, path, {"format": "pt"})
    return sum(weight.numel() for weight in theirs.values())


def _card(config: TextConfig, name: str, weights: int) -> Card:
    sizes = vars(config) | {"kv_heads": config.attention.kv_heads}
    return Card(
        title=name,
        summary=SUMMARY.format(**sizes, weights=weights, family=config.layout),
        use=USE.format(name=name),
        limits=(
            f"A text has at most {config.context:,} tokens.",
            "It goes on with texts like those that it learnt from; what it says may be untrue.",
        ),
        library="transformers",
        worded=True,
        task="text-generation",
    )
