"""Write a text model as ONNX files: python -m text.export --checkpoint last.ckpt --to onnx.

python -m text.export --checkpoint runs/text/last.ckpt --to onnx --out folder

(`python -m text.convert --to hf` writes a folder for transformers.)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from core.card_facts import Figure
from core.checkpoint import load_with_record
from core.cli import command
from core.errors import UserError
from core.files import new_folder
from core.model_card import Card, write_card
from core.onnx_files import check_installed, reproducible, write_onnx
from text.hf_tokenizer import write_hf_tokenizer
from text.model import TextModel
from text.module import TextModule
from text.onnx_graphs import Begin, Read, nothing_read
from text.writing import Alphabet

BATCH, MEMORY = {0: "batch"}, {1: "batch", 3: "past"}
SUMMARY = (
    "A decoder-only transformer over tokens, {weights:,} weights, {depth} blocks of width {width},"
    " {vocabulary:,} tokens, a context of {context:,}, as ONNX files."
)
CODE = """It needs `onnxruntime` and `tokenizers`. This writes the likeliest text, token by token:

```python
import numpy as np
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{name}/tokenizer.json")
read = InferenceSession("{name}/read.onnx")
{memory}
ids, written = np.array([[{begin}]]), []
while len(written) < {most}:
    logits, keys, values = read.run(None, {{"ids": ids, "keys": keys, "values": values}})
    scores = logits[0, -1, :{size}]
    scores[{silent}] = -np.inf  # tokens that are never written
    token = int(scores.argmax())
    if token in {ends}:
        break
    written.append(token)
    ids = np.array([[token]])
print(tokenizer.decode(written))
```

{takes}"""
EMPTY = "keys = values = np.zeros({shape}, np.float32)  # nothing read yet"
BEGIN = """begin = InferenceSession("{name}/begin.onnx")
keys, values = begin.run(None, {{{given}}})"""
COND = '"keep": np.array([False]), "cond": np.zeros((1, {width}), np.float32)'
READS = """- `read.onnx` reads tokens after those that it remembers: `ids` int64 [B T]; `keys` and
  `values` float [{depth} B {heads} P {channels}] of the P tokens read before{before}. Out come
  `logits` float [B T {vocabulary}] of the token after each, and keys and values of P + T tokens, to
  be given back with what follows. With all tokens at once it is the whole forward pass.
- A text begins with token {begin}; P + T is at most {slots}."""
BEGINS = """
- `begin.onnx` makes keys and values of the {prefix} condition tokens that stand before a text:
  `keep` bool [B]{cond}."""
CONDITION = (
    ", False to leave the condition out, and `cond` float [B {width}], unit embeddings of the run's"
    " text tower or prior"
)


def export(checkpoint: Path, to: Literal["onnx"], out: Path, raw: bool = False) -> None:
    """Write a folder with a text model for onnxruntime, and its tokenizer.

    Args:
        checkpoint: A last.ckpt of `python -m text.train`.
        to: The format.
        out: Folder to write; it must not exist.
        raw: The weights that training goes on with instead of their average.
    """
    check_installed()
    module, found = load_with_record(checkpoint, TextModule, ema=not raw)
    if not module.codec.fitted:
        raise UserError(f"{checkpoint} holds no tokenizer; give a checkpoint of a run")
    with new_folder(out) as folder, reproducible():
        difference = write_graphs(folder, module.net, module.cond_dim)
        write_hf_tokenizer(module.codec.tokenizer, folder, module.net.config.context)
        card = _card(module, out.name, difference)
        write_card(folder, card, found, checkpoint, raw=raw, target=_target(module))
    print(f"{out}: within {difference:.1e} of PyTorch")


@torch.no_grad()
def write_graphs(folder: Path, net: TextModel, cond_dim: int) -> float:
    """Write read.onnx and, if the model has a prefix, begin.onnx.

    Returns:
        The largest difference to PyTorch.
    """
    differences = []
    if net.config.prefix:
        example, *trials = [_conditions(rows, cond_dim) for rows in (2, 1, 5)]
        axes = dict.fromkeys(example, BATCH)
        path, outputs = folder / "begin.onnx", ["keys", "values"]
        differences.append(write_onnx(path, Begin(net), example, axes, outputs, trials))
    example, *trials = _readings(net)
    axes = {"ids": {0: "batch", 1: "tokens"}, "keys": MEMORY, "values": MEMORY}
    outputs = ["logits", "keys_out", "values_out"]
    path = folder / "read.onnx"
    differences.append(write_onnx(path, Read(net), example, axes, outputs, trials))
    return max(differences)


def _conditions(rows: int, cond_dim: int) -> dict[str, Tensor]:
    inputs = {"keep": torch.arange(rows) % 2 == 0}
    cond = torch.nn.functional.normalize(torch.randn(rows, cond_dim), dim=-1)
    return inputs | ({"cond": cond} if cond_dim else {})


def _readings(net: TextModel) -> Iterator[dict[str, Tensor]]:
    """Yield inputs of several lengths that the context holds, the longest whole text among them."""
    context, prefix = net.config.context, net.config.prefix
    for rows, past, tokens in ((2, 2, context // 2 + 1), (1, 1, 1), (3, 0, 2), (2, 0, context)):
        ids = torch.randint(net.config.vocabulary, (rows, min(tokens, context - past)))
        start = torch.randint(net.config.vocabulary, (rows, past))
        keys = values = nothing_read(net, rows)
        if prefix:
            keys, values = Begin(net)(torch.zeros(rows, dtype=torch.bool))
        if past:
            _, keys, values = Read(net)(start, keys, values)
        yield {"ids": ids, "keys": keys, "values": values}


def _target(module: TextModule) -> str | None:
    """Return the modality as reports name it, of models that write captions."""
    return module.kind if module.cond_dim else None


def _card(module: TextModule, name: str, difference: float) -> Card:
    config, shape = module.net.config, module.net.config.attention
    alphabet = Alphabet.of(module.codec.tokenizer)
    weights = sum(weight.numel() for weight in module.net.parameters())
    limits = (
        "Writing is left to the caller: sampling, guidance and stop strings are not in the files.",
        f"A text has at most {config.context} tokens.",
        "It goes on with texts like those that it learnt from; what it says may be untrue.",
    )
    figure = Figure(
        "largest difference to PyTorch",
        difference,
        "onnxruntime on a CPU, random inputs, at export",
    )
    return Card(
        title=name,
        summary=SUMMARY.format(weights=weights, **vars(config)),
        use=CODE.format(
            name=name,
            memory=_memory_lines(module, name),
            begin=alphabet.begin,
            most=config.context - 1,
            size=alphabet.size,
            silent=list(alphabet.silent),
            ends=set(alphabet.ends),
            takes=_takes(module, shape.kv_heads, shape.head_width, alphabet.begin),
        ),
        limits=limits,
        library="onnx",
        member="txt",
        worded=True,
        task="text-generation",
        figures=(figure,),
    )


def _memory_lines(module: TextModule, name: str) -> str:
    """Return the lines of the code that make the memory of a text that begins."""
    if not module.net.config.prefix:
        return EMPTY.format(shape=tuple(nothing_read(module.net, 1).shape))
    given = COND.format(width=module.cond_dim) if module.cond_dim else '"keep": np.array([False])'
    return BEGIN.format(name=name, given=given)


def _takes(module: TextModule, heads: int, channels: int, begin: int) -> str:
    config, width = module.net.config, module.cond_dim
    before = ", those of `begin.onnx` at first" if config.prefix else ", P = 0 at first"
    slots = config.prefix + config.context
    told = READS.format(
        **vars(config) | {"heads": heads},
        channels=channels,
        before=before,
        begin=begin,
        slots=slots,
    )
    if not config.prefix:
        return told
    cond = CONDITION.format(width=width) if width else ", of which only the length counts"
    return told + BEGINS.format(prefix=config.prefix, cond=cond)


if __name__ == "__main__":
    command(export)
