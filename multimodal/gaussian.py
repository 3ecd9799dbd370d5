"""What is linear between tokens: their joint Gaussian, conditioned on what is observed.

A network that maps one embedding to another learns by heart which combinations of factors there
are. A linear map has no room for that: what it says of a combination that training never saw is
as good as of any other (measured in LOG.md).
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

RIDGE = 0.05
"""Variance that every standardised entry has besides: what a tower adds on signals it never saw."""
FLOOR = 1e-3
"""The same for tokens that towers are not asked about: keeps matrices invertible."""


def second_moments(x: Float[Tensor, "B N E"], present: Bool[Tensor, "B N"]) -> Float[Tensor, "M M"]:
    """Return the covariance of standardised tokens, M = N E, each pair over samples that have both.

    Tokens that no sample has together are taken as independent; see `through`.
    """
    there = present.to(x)[..., None].expand_as(x)
    flat, count = (rearrange(part, "B N E -> B (N E)") for part in (x * there, there))
    return flat.T @ flat / (count.T @ count).clamp_min(1)


def through(
    covariance: Float[Tensor, "M M"], present: Bool[Tensor, "B N"], hub: int
) -> Float[Tensor, "M M"]:
    """Return the covariance with tokens that were never paired linked through the hub alone.

    Given the hub they are independent, which is all that data can say of pairs it does not hold.
    """
    width = len(covariance) // present.shape[1]
    together = present.float().T @ present.float() > 0
    apart = ~together.repeat_interleave(width, 0).repeat_interleave(width, 1)
    entries = slice(hub * width, (hub + 1) * width)
    own = covariance[entries, entries] + FLOOR * torch.eye(width).to(covariance)
    linked = covariance[:, entries] @ torch.linalg.solve(own, covariance[entries])
    return torch.where(apart, linked, covariance)


def nearest_covariance(moments: Float[Tensor, "M M"]) -> Float[Tensor, "M M"]:
    """Return the nearest covariance: moments of pairs over different samples may be none.

    Source: Higham 2002, theorem 3.2 without the unit diagonal: negative eigenvalues become zero.
    """
    values, vectors = torch.linalg.eigh(moments.double().cpu())
    if values[0] >= 0:
        return moments
    return ((vectors * values.clamp_min(0)) @ vectors.T).to(moments)


@dataclass(frozen=True)
class Linear:
    """A Gaussian of some entries given others: mean `x @ gain`, covariance `spread`."""

    gain: Float[Tensor, "G W"]
    spread: Float[Tensor, "W W"]


def condition(
    covariance: Float[Tensor, "M M"],
    given: Bool[Tensor, "M"],
    wanted: Bool[Tensor, "M"],
    ridge: float = FLOOR,
) -> Linear:
    """Return the distribution of the wanted entries of a centred Gaussian given others.

    Source: Bishop 2006, eqs. 2.81 and 2.82.
    """
    across = covariance[given][:, wanted]
    inner = covariance[given][:, given] + ridge * torch.eye(int(given.sum())).to(covariance)
    gain = torch.linalg.solve(inner, across)
    return Linear(gain, covariance[wanted][:, wanted] - across.T @ gain)


def sample(
    linear: Linear, x: Float[Tensor, "B G"], noise: Float[Tensor, "B W"]
) -> Float[Tensor, "B W"]:
    """Draw the wanted entries for given ones, from standard normal noise."""
    values, vectors = torch.linalg.eigh(linear.spread)
    return x @ linear.gain + (noise * values.clamp_min(0).sqrt()) @ vectors.T


class Evidence:
    """What observed entries say about a token, y = x @ B + noise, to correct an estimate of it."""

    def __init__(
        self,
        covariance: Float[Tensor, "M M"],
        token: Bool[Tensor, "M"],
        given: Bool[Tensor, "M"],
    ):
        said = condition(covariance, token, given)
        noise = said.spread + RIDGE * torch.eye(len(said.spread)).to(covariance)
        self.predict = said.gain
        self.weigh = torch.linalg.solve(noise, said.gain.T)
        self.precision = torch.linalg.inv(
            covariance[token][:, token] + FLOOR * torch.eye(int(token.sum())).to(covariance)
        )

    def correct(
        self, x: Float[Tensor, "B E"], y: Float[Tensor, "B G"], t: float, weight: float
    ) -> Float[Tensor, "B E"]:
        """Move an estimate of the clean token made at time t towards what is observed.

        The estimate is taken as the mean of a Gaussian whose precision grows from the token's own
        (at t = 0, where nothing is decided) by t^2 / (1 - t)^2, so that the evidence rules at first
        and the estimate in the end.

        Source: Song et al. 2023 (pseudoinverse-guided diffusion), with the data's covariance.
        """
        own = torch.eye(len(self.precision)).to(x) * (t / max(1 - t, 1e-3)) ** 2
        information = self.precision + own + self.predict @ self.weigh
        missed = (y - x @ self.predict) @ self.weigh
        return x + weight * torch.linalg.solve(information, missed.T).T
