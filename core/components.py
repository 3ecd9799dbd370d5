"""Rows of values in their principal components: narrow tokens in which no part drowns another."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from core.errors import UserError

POWER = 0.5
"""How far components are whitened: 0 leaves their variances as they are, 1 makes them equal."""


class Components(nn.Module):
    """A linear basis fitted on data; with as many components as values it is exactly invertible.

    Components are scaled by the square root of their deviation: what all values of a row share
    still comes first, but no longer drowns the detail. Before `fit` the basis are the values
    themselves.
    """

    mean: Float[Tensor, "P"]
    basis: Float[Tensor, "P C"]
    scale: Float[Tensor, "C"]
    fitted: Tensor

    def __init__(self, values: int, components: int | None = None):
        super().__init__()
        channels = values if components is None else components
        if not 1 <= channels <= values:
            raise UserError(f"components is {components} but a token has 1 to {values} of them")
        self.channels = channels
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("basis", torch.eye(values)[:, :channels].clone())
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, rows: Float[Tensor, "N P"]) -> None:
        """Take the principal components of training rows; encoded, they have unit variance."""
        rows = rows.cpu().double()  # MPS has no float64
        centred = rows - rows.mean(dim=0)
        variances, basis = torch.linalg.eigh(centred.T @ centred / len(rows))
        kept = variances.flip(0)[: self.channels].clamp_min(1e-8)
        scale = kept ** (POWER / 2)
        self.mean.copy_(rows.mean(dim=0))
        self.basis.copy_(basis.flip(1)[:, : self.channels])
        self.scale.copy_(scale * (kept / scale.square()).mean().sqrt())
        self.fitted.fill_(True)

    def encode(self, rows: Float[Tensor, "*B P"]) -> Float[Tensor, "*B C"]:
        """Return the scaled components of rows."""
        return (rows - self.mean) @ self.basis / self.scale

    def decode(self, tokens: Float[Tensor, "*B C"]) -> Float[Tensor, "*B P"]:
        """Return the rows that components stand for."""
        return (tokens * self.scale) @ self.basis.T + self.mean
