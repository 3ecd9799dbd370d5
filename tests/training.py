"""Tiny training runs, and how to tell that two of them are the same."""

import torch

import image
from core.train_cli import train

SMALL = ("--model.model.net.width=16", "--model.model.net.depth=1", "--model.model.net.heads=2")


def small_image(world, out, *more, module=image.ImageModule):
    """Train images for a few steps, a checkpoint each."""
    argv = [f"--data.root={world}", f"--data.embeddings={world / 'embeddings'}", f"--out={out}"]
    argv += [*SMALL, "--model.optim.schedule.decay=0", "--data.batch_size=4", "--save_every=1"]
    argv += ["--trainer.accelerator=cpu", "--samples=1", "--trainer.limit_val_batches=1"]
    return train(module, image.ImageData, [*argv, *more])


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
