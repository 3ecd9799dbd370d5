"""The whole chain on pairs of the user's own, in this process and in a few tiny steps."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from audio.data import AudioData
from audio.module import AudioModule
from audio.vocoder_module import VocoderModule
from core.train_cli import train
from image import ImageModule
from image.data import ImageData
from multimodal.alignment import AlignmentModule
from multimodal.data import EmbeddedData, PairedData
from multimodal.embed import embed
from multimodal.generate import generate
from multimodal.media import MEDIA
from multimodal.prior import PriorModule
from text import TextModule
from text.data import TextData
from video import VideoModule
from video.data import VideoData

SMOKE = Path(__file__).resolve().parents[2] / "configs" / "smoke.yaml"
NET = "--model.model.net.width=16 --model.model.net.depth=1 --model.model.net.heads=2"
VOCODER = "width=8 depth=1 bands=4 pitches=8"
TRAINERS = {
    "text": (TextModule, TextData, "--model.model.width=16 --model.model.depth=1"),
    "image": (ImageModule, ImageData, NET),
    "audio": (AudioModule, AudioData, NET),
    "video": (VideoModule, VideoData, NET),
}


def write_files(folder: Path, modalities: Collection[str], count: int = 10, rare: str = "") -> Path:
    """Write files that are paired by name: of `rare` only every third sample has one."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        held = {m for m in modalities if m != rare or i % 3 == 0}
        stem = folder / f"thing {i}"
        if "text" in held:
            stem.with_suffix(".txt").write_text(f"a thing of the kind {'abcdefghij'[i % 10]}")
        if "image" in held:
            pixels = random.integers(0, 255, (40, 56, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(stem.with_suffix(".png"))
        if "audio" in held:
            wave = 0.3 * np.sin(np.arange(9000) * (0.05 + 0.02 * i))
            soundfile.write(stem.with_suffix(".wav"), wave, 16_000)
        if "video" in held:
            frames = [Image.new("RGB", (48, 48), (20 * i, 40 * f, 9)) for f in range(5)]
            frames[0].save(stem.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    return folder


def run_trainer(module: type, data: type, out: Path, *options: str) -> None:
    """Train two steps as a command does."""
    train(module, data, ["--config", str(SMOKE), *options, "--out", str(out)])


def train_all(shards: Path, run: Path, modalities: Collection[str], *more: str) -> Path:
    """Train everything that a run needs, by the README's commands, and return its folder."""
    towers = ("--model.towers.text.width=16", "--model.towers.embedding=8")
    run_trainer(AlignmentModule, PairedData, run / "alignment", f"--data.root={shards}", *towers,
                "--data.batch_size=4", *more)  # fmt: skip
    embeddings = run / "embeddings"
    embed(run / "alignment" / "last.ckpt", shards, embeddings)
    small = ("--model.net.width=16", "--model.net.depth=1", "--model.net.heads=2")
    run_trainer(PriorModule, EmbeddedData, run / "prior", f"--data.root={embeddings}", *small)
    for name in modalities:
        options = [f"--data.root={shards}", f"--data.embeddings={embeddings}", *more]
        module, data, net = TRAINERS[name]
        if name == "audio":
            options += vocoder_of(shards, run, *more)
        run_trainer(module, data, run / name, *options, *net.split())
    return run


def vocoder_of(shards: Path, run: Path, *more: str) -> list[str]:
    """Train a vocoder and return the options of the audio model that takes it."""
    sizes = VOCODER.split()
    own = [f"--model.model.{size}" for size in sizes]
    run_trainer(
        VocoderModule, AudioData, run / "vocoder", f"--data.root={shards}", "--model.crop=4",
        *own, *more,
    )  # fmt: skip
    same = [f"--model.model.vocoder.{size}" for size in sizes]
    return [*same, f"--model.vocoder={run / 'vocoder' / 'last.ckpt'}"]


def generate_all(run: Path, source: Path, modalities: Collection[str], out: Path) -> None:
    """Generate from each modality, and from nothing, to all of them."""
    given = {"text": "a thing", "image": "thing 0.png", "audio": "thing 0.wav",
             "video": "thing 0.gif"}  # fmt: skip
    for name in (*modalities, None):
        file: dict[str, Any] = {} if name is None else {name: given[name]}
        if name not in (None, "text"):
            file = {name: str(source / given[name])}
        generate([*modalities], str(run), **file, out=str(out / str(name)), steps=1)
        for modality in modalities:
            assert (out / str(name) / f"0{MEDIA[modality].suffix}").is_file(), (name, modality)
