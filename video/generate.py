"""Make clips from a checkpoint: python -m video.generate --checkpoint last.ckpt --out out."""

from pathlib import Path

from core.checkpoint import load_module
from core.cli import command
from core.embeddings import read_embeddings
from core.files import new_folder
from core.sampling import FlowOptions
from video.files import write_video
from video.module import VideoModule


def generate(
    checkpoint: str,
    out: str = "out",
    embedding: str | None = None,
    count: int = 8,
    seed: int = 0,
    options: FlowOptions = FlowOptions(),
) -> None:
    """Write MP4 files, unconditional or from embeddings.

    Args:
        checkpoint: A last.ckpt of `python -m video.train`.
        out: Folder to write; it must not exist.
        embedding: A .npy file of one embedding [E] or several [N, E], used in turn.
        count: Clips to make.
        seed: The first clip's seed; the next has seed + 1.
        options: How to sample.
    """
    module = load_module(checkpoint, VideoModule)
    cond = read_embeddings(embedding, count, module.cond_dim) if embedding else None
    clips = module.generate(cond, options, seeds=range(seed, seed + count))
    with new_folder(Path(out)) as folder:
        for i, clip in enumerate(clips):
            write_video(folder / f"{seed + i}.mp4", clip)


if __name__ == "__main__":
    command(generate)
