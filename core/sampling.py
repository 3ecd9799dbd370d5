"""Solving a flow from noise to data: pure functions of a velocity."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from core.errors import UserError

Velocity = Callable[[Float[Tensor, "B *S"], float], Float[Tensor, "B *S"]]
"""dx/dt at (x, t)."""


GUIDANCE = 2.0
"""Weight of the condition unless one is named: the same for every modality."""

INTERVAL = (0.1, 0.5)
"""Times between which guidance acts: what a signal shows is decided there; elsewhere it gains
nothing (LOG.md)."""


@dataclass(frozen=True)
class FlowOptions:
    """How to sample a flow."""

    steps: int = 20
    """Solver steps; 10 agree as well with the condition but lie farther from the real (LOG.md).
    Heun calls the network twice a step, but for the last."""
    guidance: float = GUIDANCE
    """Weight of the conditional over the unconditional velocity; 1 is no guidance."""
    interval: tuple[float, float] = INTERVAL
    """Times between which guidance acts (Kynkäänniemi et al. 2024)."""
    shift: float = 1.0
    """How much denser the steps are near noise than near data; 1 is equal steps."""
    solver: Literal["euler", "heun", "dpm++"] = "euler"
    """First order, second order, or diffusers' DPM-Solver++(2M)."""

    def __post_init__(self):
        if self.steps < 1:
            raise UserError(f"steps is {self.steps} but sampling needs at least 1")
        if self.guidance < 0:
            raise UserError(f"guidance is {self.guidance} but must be 0 or more (1 is none)")
        if self.shift <= 0:
            raise UserError(f"shift is {self.shift} but must be above 0 (1 is equal steps)")
        if not 0 <= self.interval[0] <= self.interval[1] <= 1:
            raise UserError(f"interval {self.interval} must be two times 0 <= a <= b <= 1")


def time_grid(steps: int, shift: float = 1.0) -> list[float]:
    """Return steps + 1 times from 0 (noise) to 1 (data): s / (s + shift (1 - s)), s equally spaced.

    Many pixels that say the same are read through much noise, so shapes are decided early, and
    that is where the steps belong. Source: Esser et al. 2024, eq. 23, with t counted from noise.
    """
    even = [i / steps for i in range(steps + 1)]
    return [s / (s + shift * (1 - s)) for s in even]


def euler(
    velocity: Velocity, x: Float[Tensor, "B *S"], times: list[float]
) -> Float[Tensor, "B *S"]:
    """Integrate with one evaluation a step."""
    for t, t_next in pairwise(times):
        x = x + (t_next - t) * velocity(x, t)
    return x


def heun(velocity: Velocity, x: Float[Tensor, "B *S"], times: list[float]) -> Float[Tensor, "B *S"]:
    """Integrate with the trapezoidal rule; the last step is Euler's, as in EDM.

    Source: Karras et al. 2022 (EDM), algorithm 1.
    """
    for t, t_next in pairwise(times):
        slope = velocity(x, t)
        proposal = x + (t_next - t) * slope
        if t_next < 1:
            slope = (slope + velocity(proposal, t_next)) / 2
            proposal = x + (t_next - t) * slope
        x = proposal
    return x


def solve(
    velocity: Velocity, noise: Float[Tensor, "B *S"], options: FlowOptions
) -> Float[Tensor, "B *S"]:
    """Sample with the solver that the options name."""
    from core.schedulers import dpm_solver

    solver = {"euler": euler, "heun": heun, "dpm++": dpm_solver}[options.solver]
    return solver(velocity, noise, time_grid(options.steps, options.shift))


def guided(conditional: Velocity, unconditional: Velocity, options: FlowOptions) -> Velocity:
    """Return v_u + w (v_c - v_u) inside the interval and v_c outside it.

    Source: Ho and Salimans 2022, eq. 6; the interval from Kynkäänniemi et al. 2024.
    """
    low, high = options.interval

    def velocity(x: Float[Tensor, "B *S"], t: float) -> Float[Tensor, "B *S"]:
        if options.guidance == 1 or not low <= t <= high:
            return conditional(x, t)
        return torch.lerp(unconditional(x, t), conditional(x, t), options.guidance)

    return velocity
