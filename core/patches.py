"""Planes of pixels as square patches: one token each, exactly invertible."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn


class Patches(nn.Module):
    """Cuts a square RGB plane into patches, standardised per colour channel.

    Positions are (y, x). A token holds 3 * patch^2 values, which is wider than a small network: use
    the x-prediction with it.
    """

    positions: Int[Tensor, "T 2"]
    mean: Float[Tensor, "3"]
    std: Float[Tensor, "3"]
    fitted: Tensor

    def __init__(self, size: int, patch: int):
        super().__init__()
        if size < 1 or patch < 1 or size % patch:
            raise ValueError(f"patch {patch} does not divide the side of {size} pixels")
        self.size, self.patch, self.channels = size, patch, 3 * patch**2
        side = torch.arange(size // patch)
        self.register_buffer("positions", torch.cartesian_prod(side, side), persistent=False)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, planes: Float[Tensor, "B 3 H W"]) -> None:
        """Take mean and standard deviation of each colour channel from training data."""
        self.mean.copy_(planes.mean(dim=(0, 2, 3)))
        self.std.copy_(planes.std(dim=(0, 2, 3)).clamp_min(1e-3))
        self.fitted.fill_(True)

    def encode(self, planes: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T C"]:
        """Return standardised patches in row order."""
        if planes.shape[-2:] != (self.size, self.size):
            got = "x".join(str(n) for n in planes.shape[-2:])
            raise ValueError(
                f"{got} pixels came but the model expects {self.size}x{self.size};"
                f" rebuild the shards with --size {self.size}"
            )
        x = (planes - self.mean[:, None, None]) / self.std[:, None, None]
        p = self.patch
        return rearrange(x, "B three (h p) (w q) -> B (h w) (three p q)", p=p, q=p)

    def decode(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B 3 H W"]:
        """Return planes, clipped to [-1, 1]."""
        p, side = self.patch, self.size // self.patch
        x = rearrange(
            tokens, "B (h w) (three p q) -> B three (h p) (w q)", h=side, w=side, p=p, q=p
        )
        return (x * self.std[:, None, None] + self.mean[:, None, None]).clamp(-1, 1)
