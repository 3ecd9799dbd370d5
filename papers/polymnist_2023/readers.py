"""A digit reader a view: python -m papers.polymnist_2023.readers --data data/poly --out R.

None shares an architecture, a split or a handwritten instance with what is measured. They are
trained on blurred and noisy pictures too, so that a soft sample is read for its digit rather than
held against its maker twice: how real it looks is what the Fréchet distance is for.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.cli import command
from core.energy import Meter
from core.files import existing_file, new_file
from multimodal.metrics import mean
from multimodal.reader_nets import ResidualNet
from multimodal.reader_training import ReaderTraining, fit
from multimodal.readers import NetReader
from papers.polymnist_2023.data import load_views
from papers.polymnist_2023.views import VIEWS

STEPS = 250


class ColourNet(ResidualNet):
    """The readers' residual network on RGB."""

    def __init__(self, width: int = 16):
        super().__init__(width)
        self.stem = nn.Conv2d(3, width, 3, padding=1)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Read pictures of 8 pixels or more a side."""
        x = F.relu(self.stem(image))
        for stage in self.stages:
            x = stage(F.max_pool2d(x, 2))
        return reduce(x, "B D H W -> B D", "mean")


class ViewReader(NetReader):
    """The digit on one view."""

    def __init__(self):
        super().__init__(ColourNet())

    def prepare(self, signal: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The picture as it is."""
        return signal

    def augment(
        self, prepared: Float[Tensor, "B 3 H W"], generator: torch.Generator
    ) -> Float[Tensor, "B 3 H W"]:
        """Move, blur and dim each picture, and add noise."""
        shares = torch.rand(7, len(prepared), 1, 1, 1, generator=generator)
        moved = _move(prepared, shares[:4, :, 0, 0, 0])
        soft = F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, 1)
        blurred = torch.lerp(moved, soft, (2 * shares[4] - 0.6).clamp(0, 1))
        noise = torch.randn(prepared.shape, generator=generator) * 0.3 * shares[5]
        return (blurred * (0.7 + 0.4 * shares[6]) + noise).clamp(-1, 1)


def _move(image: Float[Tensor, "B 3 H W"], shares: Float[Tensor, "4 B"]) -> Tensor:
    """Turn by up to 0.2 rad, zoom by 15 %, shift by 8 % of the side; edges are repeated."""
    angle, zoom, x, y = (2 * shares - 1) * torch.tensor([[0.2], [0.15], [0.16], [0.16]])
    cos, sin = (1 + zoom) * angle.cos(), (1 + zoom) * angle.sin()
    rows = torch.stack([cos, -sin, x, sin, cos, y])
    grid = F.affine_grid(
        rearrange(rows, "(r c) B -> B r c", r=2), list(image.shape), align_corners=False
    )
    return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def readers(data: Path, out: Path, steps: int = STEPS, seed: int = 0) -> None:
    """Train a reader a view on <data>/readers and measure it on <data>/test.

    Args:
        data: Folder of `python -m papers.polymnist_2023.shards`.
        out: Folder for the weights and readers.json.
        steps: Batches of each.
        seed: Of weights, order and augmentation.
    """
    torch.set_num_threads(1)
    meter, views, test = Meter(), load_views(data / "readers"), load_views(data / "test")
    accuracy = {}
    for view in VIEWS:
        torch.manual_seed(seed)
        reader, truth = ViewReader(), {"digit": views.digit}
        fit(reader, views.pictures[view], truth, ReaderTraining(steps=steps), seed, view)
        accuracy[view] = mean(reader.predict(test.pictures[view])["digit"] == test.digit)
        with new_file(out / f"{view}.safetensors") as path:
            save_file(reader.state_dict(), path)
        print(f"{view}: {accuracy[view]:.3f}")
    with new_file(out / "readers.json") as path:
        path.write_text(json.dumps({"test": accuracy, "cost": meter.read()}, indent=1))


def load_readers(folder: Path) -> dict[str, ViewReader]:
    """Open the readers of all views."""
    opened = {}
    for view in VIEWS:
        opened[view] = ViewReader()
        opened[view].load_state_dict(load_file(existing_file(folder / f"{view}.safetensors")))
        opened[view].eval()
    return opened


if __name__ == "__main__":
    command(readers)
