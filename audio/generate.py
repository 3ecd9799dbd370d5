"""Speak sounds from a checkpoint: python -m audio.generate --checkpoint last.ckpt --out out."""

from pathlib import Path

from audio.files import write_audio
from audio.module import AudioModule
from core.checkpoint import load_module
from core.cli import command
from core.embeddings import read_embeddings
from core.files import new_folder
from core.sampling import FlowOptions


def generate(
    checkpoint: str,
    out: str = "out",
    embedding: str | None = None,
    count: int = 8,
    seed: int = 0,
    options: FlowOptions = FlowOptions(),
) -> None:
    """Write WAV files, unconditional or from embeddings.

    Args:
        checkpoint: A last.ckpt of `python -m audio.train`.
        out: Folder to write; it must not exist.
        embedding: A .npy file of one embedding [E] or several [N, E], used in turn.
        count: Sounds to draw.
        seed: The first sound's seed; the next has seed + 1.
        options: How to sample.
    """
    module = load_module(checkpoint, AudioModule)
    cond = read_embeddings(embedding, count, module.cond_dim) if embedding else None
    waves = module.generate(cond, options, seeds=range(seed, seed + count))
    with new_folder(Path(out)) as folder:
        for i, wave in enumerate(waves):
            write_audio(folder / f"{seed + i}.wav", wave, module.codec.config.rate)


if __name__ == "__main__":
    command(generate)
