"""The image tower: pixels to a point on the unit sphere."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.noise import uniform


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Size of the image tower."""

    embedding: int = 64
    """Width of the shared space."""
    width: int = 32
    """Channels of the first stage; each of three stages doubles them."""
    shift: float = 0.06
    """Augmentation in training: largest shift, as a share of the side."""


class ImageEncoder(nn.Module):
    """Three strided stages of convolutions, averaged over the plane.

    In training mode each picture is shifted and dimmed a little, by its own seed.
    """

    def __init__(self, config: ImageEncoderConfig = ImageEncoderConfig()):
        super().__init__()
        self.config = config
        w = config.width
        self.trunk = nn.Sequential(
            _conv(3, w, stride=2), _conv(w, 2 * w, stride=2), _conv(2 * w, 2 * w),
            _conv(2 * w, 4 * w, stride=2), _conv(4 * w, 4 * w),
        )  # fmt: skip
        self.head = nn.Linear(2 * 4 * w, config.embedding)

    def forward(
        self, images: Float[Tensor, "B 3 H W"], seeds: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B E"]:
        """Return unit-norm embeddings; seeds are needed in training mode only."""
        if self.training and seeds is not None:
            images = jitter(images, seeds, self.config.shift)
        h = self.trunk(images)
        pooled = torch.cat([reduce(h, "B C H W -> B C", r) for r in ("mean", "max")], dim=1)
        return F.normalize(self.head(pooled), dim=-1)


def jitter(
    images: Float[Tensor, "B 3 H W"], seeds: Int[Tensor, "B"], shift: float
) -> Float[Tensor, "B 3 H W"]:
    """Shift, zoom and turn each image a little (bilinear, edges repeated) and scale its contrast.

    The largest turn is 0.15 rad, the largest zoom 5 %: more would change what size means.
    """
    u = 2 * uniform(seeds, (5,), stream=8) - 1
    angle, zoom = 0.15 * u[:, 0], 1 + 0.05 * u[:, 1]
    rows = [
        torch.stack([zoom * angle.cos(), -zoom * angle.sin(), 2 * shift * u[:, 2]], dim=1),
        torch.stack([zoom * angle.sin(), zoom * angle.cos(), 2 * shift * u[:, 3]], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved * (1 + 0.1 * u[:, 4, None, None, None])


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False),
        nn.GroupNorm(4, outside),
        nn.GELU(),
    )
