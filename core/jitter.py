"""Small random movements of pictures, for training towers."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from core.noise import uniform


def jitter(
    images: Float[Tensor, "B 3 H W"], seeds: Int[Tensor, "B"], shift: float
) -> Float[Tensor, "B 3 H W"]:
    """Shift, zoom, turn, slant and widen each image a little, and scale its contrast.

    Bilinear, edges repeated. The largest turn is 0.2 rad, the largest slant 0.3, width changes by
    15 %, height by 5 %: more would change what size means. Hands differ in slant and width.
    """
    u = 2 * uniform(seeds, (7,), stream=8) - 1
    angle, zoom = 0.2 * u[:, 0], 1 + 0.05 * u[:, 1]
    wide, slant = (0.15 * u[:, 5]).exp(), 0.3 * u[:, 6]
    rows = [
        torch.stack(
            [zoom * wide * angle.cos(), zoom * (slant - angle.sin()), 2 * shift * u[:, 2]], dim=1
        ),
        torch.stack([zoom * angle.sin(), zoom * angle.cos(), 2 * shift * u[:, 3]], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved * (1 + 0.1 * u[:, 4, None, None, None])
