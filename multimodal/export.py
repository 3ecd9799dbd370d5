"""Write the towers as ONNX files: python -m multimodal.export --checkpoint last.ckpt --to onnx.

python -m multimodal.export --checkpoint runs/alignment/last.ckpt --to onnx --out folder
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from core.card_facts import Figure, measured_by, report_of
from core.checkpoint import load_with_record
from core.cli import command
from core.files import new_folder
from core.model_card import Card, write_card
from core.onnx_files import Axes, check_installed, reproducible, write_onnx
from multimodal.alignment import AlignmentModule

MODEL, TOKENIZER = "model.onnx", "tokenizer.json"


@dataclass(frozen=True)
class Input:
    """What a kind of tower takes."""

    name: str
    """Of the input."""
    axes: Axes
    """Those of any length."""
    shape: tuple[int, ...]
    """Of the signals in training."""
    other: tuple[int, ...]
    """Another shape, to try."""
    told: str
    """For people: shape, unit, preparation."""


INPUTS = {
    "text": Input(
        "ids", {0: "batch", 1: "tokens"}, (2, 9), (5, 4),
        "`ids` int64 [B T], rows of `tokenizer.json` beside it, which does to a text all that the"
        " tower does: lower case, words only, begin and end, {context} tokens at most, filled up",
    ),
    "image": Input(
        "images", {0: "batch", 2: "height", 3: "width"}, (2, 3, 32, 32), (5, 3, 40, 48),
        "`images` float [B 3 H W], RGB in [-1, 1] (a byte / 127.5 - 1); the world's are 32 x 32",
    ),
    "audio": Input(
        "waves", {0: "batch", 1: "samples"}, (2, 10_400), (5, 8_320),
        "`waves` float [B S], mono waveform in [-1, 1] at {rate} Hz; the world's last 10,400"
        " samples (1.3 s), shorter sounds are filled up with silence at the end; any loudness",
    ),
    "video": Input(
        "clips", {0: "batch", 1: "frames", 3: "height", 4: "width"}, (2, 4, 3, 32, 32),
        (5, 6, 3, 40, 48),
        "`clips` float [B F 3 H W], RGB frames in [-1, 1], 2 or more that span the whole clip; the"
        " world's are 4 or 8 of 32 x 32",
    ),
}  # fmt: skip
USE = """It needs `onnxruntime`, and `tokenizers` for text.

```python
import numpy as np
from onnxruntime import InferenceSession
{code}
```

{towers}

Each gives `embeddings`, float [B {width}], of length 1: dot products are cosines."""
TEXT = """from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{name}/{tower}/tokenizer.json")
tokenizer.encode_special_tokens = True  # a user's "<eos>" is five letters
tower = InferenceSession("{name}/{tower}/model.onnx")
rows = tokenizer.encode_batch(["a big red seven moves left", "something blue"])
(captions,) = tower.run(None, {{"ids": np.array([row.ids for row in rows])}})
print(captions @ captions.T)"""
OTHER = """
tower = InferenceSession("{name}/{tower}/model.onnx")
(points,) = tower.run(None, {{"{input}": np.zeros({shape}, np.float32)}})
print(points.shape)"""


class OfTokens(nn.Module):
    """A text tower that takes tokens in place of texts."""

    def __init__(self, tower: Any):
        super().__init__()
        self.tower = tower

    def forward(self, ids: Tensor) -> Tensor:
        """Return unit-norm embeddings."""
        return self.tower.read(ids)


def export(checkpoint: Path, to: Literal["onnx"], out: Path, raw: bool = False) -> None:
    """Write a folder with a folder a tower, each with its model.onnx.

    Args:
        checkpoint: A last.ckpt of `python -m multimodal.train`.
        to: The format.
        out: Folder to write; it must not exist.
        raw: The weights that training goes on with instead of their average.
    """
    check_installed()
    module, found = load_with_record(checkpoint, AlignmentModule, ema=not raw)
    kinds = module.hparams["towers"].kinds
    with new_folder(out) as folder, reproducible():
        differences = {
            name: write_tower(folder / name, kinds[name], tower)
            for name, tower in module.towers.items()
        }
        figures = _differences(differences)
        if not raw:
            figures += _retrieval(report_of(checkpoint))
        card = _card(module, out.name, figures)
        write_card(folder, card, found, checkpoint, raw=raw, target=None)
    print(f"{out}: {', '.join(differences)}, within {max(differences.values()):.1e} of PyTorch")


@torch.no_grad()
def write_tower(folder: Path, kind: str, tower: Any) -> float:
    """Write a tower's model.onnx, for text its tokenizer too.

    Returns:
        The largest difference to PyTorch.
    """
    taken = INPUTS[kind]
    folder.mkdir()
    if kind == "text":
        (folder / TOKENIZER).write_text(tower.tokenizer_json(), encoding="utf-8")
        tokens = tower.codec.tokenizer
        signals = [_rows(shape, len(tokens), tokens.pad) for shape in (taken.shape, taken.other)]
        tower = OfTokens(tower)
    else:
        signals = [torch.rand(shape) * 2 - 1 for shape in (taken.shape, taken.other)]
    example, *trials = [{taken.name: x} for x in (*signals, signals[0][:1])]
    axes = {taken.name: taken.axes}
    return write_onnx(folder / MODEL, tower, example, axes, ["embeddings"], trials)


def _rows(shape: tuple[int, ...], tokens: int, pad: int) -> Tensor:
    """Return rows of tokens, the first of them filled up at its end."""
    ids = torch.randint(3, tokens, shape)
    ids[0, -2:] = pad
    return ids


def _differences(differences: Mapping[str, float]) -> tuple[Figure, ...]:
    origin = "onnxruntime on a CPU, random inputs, at export"
    return tuple(
        Figure(f"{name}: largest difference to PyTorch", value, origin)
        for name, value in differences.items()
    )


def _retrieval(report: Mapping[str, Any] | None) -> tuple[Figure, ...]:
    """Return how often a signal's partner is among the ten nearest, as a run's report tells."""
    if report is None or "space" not in report:
        return ()
    space = report["space"]
    origin = f"{measured_by(report)}, among {space['n']:,}"
    return tuple(
        Figure(f"{direction.replace('->', ' to ')}: R@10", held["R@10"], origin)
        for direction, held in space["retrieval"].items()
    )


def _card(module: AlignmentModule, name: str, figures: tuple[Figure, ...]) -> Card:
    config = module.hparams["towers"]
    known = {"context": config.text.context, "rate": config.audio.mel.rate}
    lines, code = [], []
    for tower, kind in config.kinds.items():
        taken = INPUTS[kind]
        lines.append(f"- `{tower}/{MODEL}` takes {taken.told.format(**known)}.")
        form = TEXT if kind == "text" else OTHER
        shape = (1, *taken.shape[1:])
        code.append(form.format(name=name, tower=tower, input=taken.name, shape=shape))
    weights = sum(weight.numel() for weight in module.towers.parameters())
    return Card(
        title=name,
        summary=(
            f"Towers of {weights:,} weights that map {', '.join(config.kinds)} to one sphere in"
            f" {config.embedding} dimensions, trained with a contrastive loss, as ONNX files."
        ),
        use=USE.format(code="\n".join(code), towers="\n".join(lines), width=config.embedding),
        limits=(
            "Small towers, trained from scratch on one kind of signal: they know no other objects,"
            " words or voices, and give an embedding of anything that they are given.",
            "A text without a word is refused by Unison; here it is the embedding of nothing.",
        ),
        library="onnx",
        worded="text" in config.kinds.values(),
        task="feature-extraction",
        figures=figures,
    )


if __name__ == "__main__":
    command(export)
