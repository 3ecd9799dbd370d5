"""Write texts from a checkpoint: python -m text.generate --checkpoint last.ckpt."""

from pathlib import Path

from core.checkpoint import load_module
from core.cli import command
from core.embeddings import read_embeddings
from core.files import new_folder
from text.files import write_text
from text.module import TextModule
from text.sampling import TextOptions


def generate(
    checkpoint: str,
    out: str | None = None,
    embedding: str | None = None,
    count: int = 8,
    seed: int = 0,
    options: TextOptions = TextOptions(),
) -> None:
    """Print texts, unconditional or from embeddings, and write .txt files if --out is given.

    Args:
        checkpoint: A last.ckpt of `python -m text.train`.
        out: Folder to write; it must not exist.
        embedding: A .npy file of one embedding [E] or several [N, E], used in turn.
        count: Texts to write.
        seed: The first text's seed; the next has seed + 1.
        options: How to sample.
    """
    module = load_module(checkpoint, TextModule)
    cond = read_embeddings(embedding, count, module.cond_dim) if embedding else None
    texts = module.generate(cond, options, seeds=range(seed, seed + count))
    print("\n".join(texts))
    if out is not None:
        with new_folder(Path(out)) as folder:
            for i, text in enumerate(texts):
                write_text(folder / f"{seed + i}.txt", text)


if __name__ == "__main__":
    command(generate)
