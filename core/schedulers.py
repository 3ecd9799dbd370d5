"""The one adapter to diffusers' schedulers.

diffusers counts the other way: sigma = 1 - t is the share of noise, its model output is the
velocity towards noise (minus ours), and its timestep is 1000 sigma.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from core.sampling import Velocity


def dpm_solver(velocity: Velocity, x: Float[Tensor, "B *S"], times: list[float]) -> Tensor:
    """Integrate with DPM-Solver++(2M), one evaluation a step (Lu et al. 2022)."""
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0
    )
    scheduler.set_timesteps(len(times) - 1)
    return run_scheduler(scheduler, velocity, x)


def run_scheduler(scheduler: Any, velocity: Velocity, x: Float[Tensor, "B *S"]) -> Tensor:
    """Drive a flow-matching scheduler of diffusers, whose steps are already set, by a velocity."""
    for step, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        x = scheduler.step(-velocity(x, 1 - float(sigma)), step, x).prev_sample
    return x
