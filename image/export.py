"""Write an image model for others: python -m image.export --checkpoint last.ckpt --to diffusers.

python -m image.export --checkpoint runs/image/last.ckpt --to diffusers --out folder
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from core.bundle import bundle
from core.checkpoint import load_with_record
from core.cli import command
from core.files import new_folder
from core.model_card import Card, write_card
from image.module import ImageModule

PIPELINE = "UnisonImagePipeline"
COMPONENTS = {"transformer": "UnisonImageTransformer", "codec": "UnisonImageCodec"}
"""Folder of a part, and its class; its code is the file `unison_<folder>.py` there."""
USE = """It needs `torch` and `diffusers`; its code comes with it, which is why it must be trusted.

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained(
    "{name}", custom_pipeline="{name}", trust_remote_code=True
)
images = pipeline(seeds=[0, 1, 2, 3]).images  # pictures of Pillow
images[0].resize((256, 256), 0).save("0.png")
```

- `seeds`: one an image, which depends on nothing else; equal seeds give the images of
  `python -m image.generate` on the same machine.
- `embeddings`: {embeddings}
- `num_inference_steps`, `guidance_scale`, `interval`, `shift`, `solver` (`euler`, `heun`, `dpm++`):
  how to sample; the defaults are those of `image.generate`.
- `output_type="pt"` gives a tensor [N 3 {size} {size}] in [0, 1] instead of pictures."""
CONDITION = (
    "float [N {width}] or [{width}], unit vectors of the run's own image tower or prior, used in"
    " turn; None draws without a condition."
)
SUMMARY = (
    "A flow-matching transformer of {weights:,} weights that draws pictures of {size} x {size}"
    " pixels from nothing{condition}."
)


def export(checkpoint: Path, to: Literal["diffusers"], out: Path, raw: bool = False) -> None:
    """Write a folder that `DiffusionPipeline.from_pretrained` loads, without Unison.

    Args:
        checkpoint: A last.ckpt of `python -m image.train`.
        to: The library that it is for.
        out: Folder to write; it must not exist.
        raw: The weights that training goes on with instead of their average.
    """
    module, found = load_with_record(checkpoint, ImageModule, ema=not raw)
    with new_folder(out) as folder:
        weights = _write_parts(folder, module)
        _write_code(folder)
        card = _card(module, out.name, weights)
        write_card(folder, card, found, checkpoint, raw=raw, target=ImageModule.kind)
    print(f"{out}: {weights:,} weights for {to}")


def _write_parts(folder: Path, module: ImageModule) -> int:
    """Write configurations and weights, and return how many numbers these are."""
    from image.pipeline import UnisonImageCodec, UnisonImageTransformer

    model, net = module.hparams["model"], module.net.config
    transformer = UnisonImageTransformer(
        side=module.codec.side,
        channels=module.codec.channels,
        width=net.width,
        depth=net.depth,
        heads=net.heads,
        mlp=net.mlp,
        cond_dim=module.cond_dim,
        prediction=module.flow.prediction,
    )
    codec = UnisonImageCodec(model.size, model.patch, model.components)
    transformer.net.load_state_dict(module.net.state_dict())
    codec.patches.load_state_dict(module.codec.state_dict())
    for name, part in {"transformer": transformer, "codec": codec}.items():
        part.save_pretrained(folder / name)
    return sum(weight.numel() for weight in transformer.parameters())


def _write_code(folder: Path) -> None:
    """Write each part's code as one file, and the index that names them."""
    doc = "{} of Unison, an image model; Apache License 2.0. Written by: python -m image.export"
    for name, of in COMPONENTS.items():
        text = bundle("image.pipeline", [of], doc.format(f"The {name}"))
        (folder / name / f"unison_{name}.py").write_text(text, encoding="utf-8")
    text = bundle("image.pipeline", [PIPELINE], doc.format("The pipeline"))
    (folder / "pipeline.py").write_text(text, encoding="utf-8")
    index = {"_class_name": ["pipeline", PIPELINE], "_diffusers_version": version("diffusers")}
    index |= {name: [f"unison_{name}", of] for name, of in COMPONENTS.items()}
    text = json.dumps(index, indent=2) + "\n"
    (folder / "model_index.json").write_text(text, encoding="utf-8")


def _card(module: ImageModule, name: str, weights: int) -> Card:
    size, width = module.hparams["model"].size, module.cond_dim
    told = CONDITION.format(width=width) if width else "None; this model draws without."
    condition = f", or from an embedding of width {width} that says what they show" if width else ""
    return Card(
        title=name,
        summary=SUMMARY.format(weights=weights, size=size, condition=condition),
        use=USE.format(name=name, embeddings=told, size=size),
        limits=(
            f"Pictures of {size} x {size} pixels, neither more nor less.",
            "No text goes in: captions become embeddings by a run's text tower and prior.",
            "It computes in float32; half precision is not supported.",
            "`save_pretrained` of diffusers writes no code: copy the folder instead.",
        ),
        library="diffusers",
        member="png",
        task="unconditional-image-generation",
    )


if __name__ == "__main__":
    command(export)
