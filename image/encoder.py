"""The image tower: pixels to a point on the unit sphere."""

from dataclasses import dataclass

import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.convolution import conv_stage
from core.jitter import jitter


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Size of the image tower."""

    embedding: int = 64
    """Width of the shared space."""
    width: int = 16
    """Channels of the first stage; the second and third double them."""
    shift: float = 0.06
    """Augmentation in training: largest shift, as a share of the side."""
    size: int = 32
    """Pixels a side of the pictures in training; linked from the data."""


class ImageEncoder(nn.Module):
    """Convolutions and pools of maxima: a digit counts wherever it stands.

    In training mode each picture is shifted and dimmed a little, by its own seed.
    """

    def __init__(self, config: ImageEncoderConfig = ImageEncoderConfig()):
        super().__init__()
        self.config = config
        w = config.width
        self.trunk = nn.Sequential(
            conv_stage(3, w, pool=2),
            conv_stage(w, 2 * w, pool=2),
            conv_stage(2 * w, 4 * w, pool=2),
            conv_stage(4 * w, 4 * w),
        )
        self.head = nn.Linear(4 * w, config.embedding)

    def forward(
        self, images: Float[Tensor, "B 3 H W"], seeds: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B E"]:
        """Return unit-norm embeddings; seeds are needed in training mode only."""
        if self.training and seeds is not None:
            images = jitter(images, seeds, self.config.shift)
        h = self.trunk(images)
        return F.normalize(self.head(reduce(h, "B C H W -> B C", "max")), dim=-1)
