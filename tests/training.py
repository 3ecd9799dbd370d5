"""Tiny training runs, and how to tell that two of them are the same."""

from dataclasses import dataclass

import torch

import audio
import image
import text
import video
from core.train_cli import train
from multimodal.alignment import AlignmentModule
from multimodal.data import EmbeddedData, PairedData
from multimodal.prior import PriorModule

SMALL_NET = ("--model.net.width=16", "--model.net.depth=1", "--model.net.heads=2")
SMALL_FLOW = tuple(f"--model.model.net.{f}" for f in ("width=16", "depth=1", "heads=2"))
SMALL_TEXT = tuple(f"--model.model.{f}" for f in ("width=16", "depth=1", "heads=2"))
SMALL_TOWERS = ("--model.towers.embedding=8", "--model.towers.text.width=16")


@dataclass(frozen=True)
class Trainer:
    """A training command with options that make it tiny."""

    name: str
    module: type
    data: type
    options: tuple[str, ...]
    embeddings: bool = True

    def run(self, world, out, *more, module=None):
        """Train for a few steps, by another module if one is given."""
        root = world / "embeddings" if self.name == "prior" else world
        argv = [f"--data.root={root}", f"--out={out}", *self.options]
        if self.embeddings:
            argv.append(f"--data.embeddings={world / 'embeddings'}")
        argv += ["--data.batch_size=4", "--trainer.accelerator=cpu", "--samples=1"]
        argv += ["--trainer.val_check_interval=5", "--trainer.limit_val_batches=1"]
        return train(module or self.module, self.data, latest([*argv, *more]))


TRAINERS = {
    trainer.name: trainer
    for trainer in (
        Trainer("text", text.TextModule, text.TextData, SMALL_TEXT),
        Trainer("image", image.ImageModule, image.ImageData, SMALL_FLOW),
        Trainer("audio", audio.AudioModule, audio.AudioData, SMALL_FLOW),
        Trainer("video", video.VideoModule, video.VideoData, SMALL_FLOW),
        Trainer("alignment", AlignmentModule, PairedData, SMALL_TOWERS, embeddings=False),
        Trainer("prior", PriorModule, EmbeddedData, (*SMALL_NET, "--model.embedding=8"),
                embeddings=False),
    )
}  # fmt: skip


def latest(argv):
    """Keep the last value of each --option=value: a command refuses an option given twice."""
    return list({word.partition("=")[0]: word for word in argv}.values())


def small_image(world, out, *more, module=None):
    """Train images at a constant rate, so that all runs begin alike, with a checkpoint a step."""
    every = ("--model.optim.schedule.decay=0", "--save_every=1")
    return TRAINERS["image"].run(world, out, *every, *more, module=module)


def assert_same(a, b, where="checkpoint"):
    """Raise unless nested values are equal to the last bit."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where
