"""Planes of pixels as square patches, one token each."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.errors import UserError

POWER = 0.5
"""How far components are whitened: 0 leaves their variances as they are, 1 makes them equal."""


class Patches(nn.Module):
    """Cuts a square RGB plane into patches and writes each in a basis fitted on data.

    The basis are the patches' principal components, scaled by the square root of their deviation:
    what is common to all pixels of a patch (the background) still comes first, but no longer drowns
    the strokes. Leaving out the last components makes a token narrower than the network, which can
    then predict velocities; with all of them the round trip is exact. Before `fit` the basis are
    the pixels themselves. Positions are (y, x). Where patches reach beyond the plane its last
    pixels are repeated, and cut off again.
    """

    positions: Int[Tensor, "T 2"]
    mean: Float[Tensor, "P"]
    basis: Float[Tensor, "P C"]
    scale: Float[Tensor, "C"]
    fitted: Tensor

    def __init__(self, size: int, patch: int, components: int | None = None):
        super().__init__()
        if size < 1 or patch < 1:
            raise UserError(f"patch {patch} and the side of {size} pixels must be 1 or more")
        pixels = 3 * patch**2
        channels = pixels if components is None else components
        if not 1 <= channels <= pixels:
            raise UserError(f"components is {components} but a patch has 1 to {pixels} of them")
        self.size, self.patch, self.channels = size, patch, channels
        self.side = math.ceil(size / patch)
        side = torch.arange(self.side)
        self.register_buffer("positions", torch.cartesian_prod(side, side), persistent=False)
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("basis", torch.eye(pixels)[:, :channels].clone())
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, planes: Float[Tensor, "B 3 H W"]) -> None:
        """Take the principal components of training patches; tokens get unit variance overall."""
        rows = rearrange(self._cut(planes), "B T P -> (B T) P").cpu().double()  # MPS has no float64
        centred = rows - rows.mean(dim=0)
        variances, basis = torch.linalg.eigh(centred.T @ centred / len(rows))
        kept = variances.flip(0)[: self.channels].clamp_min(1e-8)
        scale = kept ** (POWER / 2)
        self.mean.copy_(rows.mean(dim=0))
        self.basis.copy_(basis.flip(1)[:, : self.channels])
        self.scale.copy_(scale * (kept / scale.square()).mean().sqrt())
        self.fitted.fill_(True)

    def encode(self, planes: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T C"]:
        """Return tokens in row order."""
        if planes.shape[-2:] != (self.size, self.size):
            got = "x".join(str(n) for n in planes.shape[-2:])
            raise UserError(
                f"{got} pixels came but the model expects {self.size}x{self.size};"
                f" rebuild the shards with --size {self.size}"
            )
        return (self._cut(planes) - self.mean) @ self.basis / self.scale

    def decode(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B 3 H W"]:
        """Return planes, clipped to [-1, 1]."""
        p, side = self.patch, self.side
        rows = (tokens * self.scale) @ self.basis.T + self.mean
        planes = rearrange(
            rows, "B (h w) (three p q) -> B three (h p) (w q)", h=side, w=side, p=p, q=p
        )
        return planes[..., : self.size, : self.size].clamp(-1, 1)

    def _cut(self, planes: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B T P"]:
        p, missing = self.patch, self.side * self.patch - self.size
        if missing:
            planes = F.pad(planes, (0, missing, 0, missing), mode="replicate")
        return rearrange(planes, "B three (h p) (w q) -> B (h w) (three p q)", p=p, q=p)
