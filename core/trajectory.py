"""A flow's way from noise to data, step by step: for who wants to watch it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from core.flow import CLAMP, Prediction
from core.sampling import FlowOptions, Velocity, solve


@dataclass(frozen=True)
class Trajectory:
    """The states of a solution, the last of them its end."""

    times: tuple[float, ...]
    """From 0 (noise) to 1 (data)."""
    noisy: Float[Tensor, "N B *S"]
    """The state at each time."""
    clean: Float[Tensor, "N B *S"]
    """The data that the network expects at each time; at the end, the end itself."""


def watched(
    velocity: Velocity,
    noise: Float[Tensor, "B *S"],
    options: FlowOptions,
    prediction: Prediction = "v",
) -> Trajectory:
    """Solve a flow as `solve` does and keep what it passed.

    A solver of second order tries a state before it takes it, and asks for the velocity at both: of
    several states at one time the last is the one that was taken.

    Args:
        velocity: dx/dt at (x, t).
        noise: Where to start.
        options: Solver and steps.
        prediction: What the network's output is. It decides how a velocity becomes data next to
            t = 1, where the velocity of a prediction of x is clamped.
    """
    seen: dict[float, tuple[Tensor, Tensor]] = {}

    def watching(x: Float[Tensor, "B *S"], t: float) -> Float[Tensor, "B *S"]:
        slope = velocity(x, t)
        seen[float(t)] = (x, x + _remaining(float(t), prediction) * slope)
        return slope

    end = solve(watching, noise, options)
    noisy, clean = zip(*seen.values(), (end, end), strict=True)
    return Trajectory((*seen, 1.0), torch.stack(noisy), torch.stack(clean))


def _remaining(t: float, prediction: Prediction) -> float:
    """Return by what a velocity is multiplied to give the way that is left: see `flow.velocity`."""
    return max(1 - t, CLAMP) if prediction == "x" else 1 - t
