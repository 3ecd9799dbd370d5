"""Draw images from a checkpoint: python -m image.generate --checkpoint last.ckpt --out out."""

from pathlib import Path

from core.checkpoint import load_module
from core.cli import command
from core.embeddings import read_embeddings
from core.files import new_folder
from core.sampling import FlowOptions
from image.files import write_image
from image.module import ImageModule


def generate(
    checkpoint: str,
    out: str = "out",
    embedding: str | None = None,
    count: int = 8,
    seed: int = 0,
    options: FlowOptions = FlowOptions(),
) -> None:
    """Write PNG files, unconditional or from embeddings.

    Args:
        checkpoint: A last.ckpt of `python -m image.train`.
        out: Folder to write; it must not exist.
        embedding: A .npy file of one embedding [E] or several [N, E], used in turn.
        count: Images to draw.
        seed: The first image's seed; the next has seed + 1.
        options: How to sample.
    """
    module = load_module(checkpoint, ImageModule)
    cond = read_embeddings(embedding, count, module.cond_dim) if embedding else None
    images = module.generate(cond, options, seeds=range(seed, seed + count))
    with new_folder(Path(out)) as folder:
        for i, image in enumerate(images):
            write_image(folder / f"{seed + i}.png", image)


if __name__ == "__main__":
    command(generate)
