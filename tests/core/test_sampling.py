import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler
from torch.testing import assert_close

from core.sampling import FlowOptions, euler, guided, heun, solve, time_grid
from core.schedulers import run_scheduler


def gaussian_velocity(mean: float, std: float):
    """The exact velocity of the flow from N(0, 1) to N(mean, std^2)."""

    def velocity(x, t):
        variance = (1 - t) ** 2 + (t * std) ** 2
        slope = (t * std**2 - (1 - t)) / variance
        return mean + slope * (x - t * mean)

    return velocity


def test_euler_equals_the_scheduler_of_diffusers():
    noise, velocity = torch.randn(4, 8), gaussian_velocity(1.5, 0.3)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(sigmas=[1 - t for t in time_grid(10)[:-1]])
    assert_close(euler(velocity, noise, time_grid(10)), run_scheduler(scheduler, velocity, noise))


def test_heun_equals_the_scheduler_of_diffusers():
    noise, velocity = torch.randn(4, 8), gaussian_velocity(1.5, 0.3)
    scheduler = FlowMatchHeunDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(10)
    # Its own grid repeats the inner times; ours is the grid without repeats.
    times = [1 - float(s) for s in scheduler.sigmas.unique(sorted=True).flip(0)]
    theirs = noise
    for step in scheduler.timesteps:
        sigma = float(step) / scheduler.config.num_train_timesteps
        theirs = scheduler.step(-velocity(theirs, 1 - sigma), step, theirs).prev_sample
    assert_close(heun(velocity, noise, times), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_with_the_solvers_order(solver, order):
    noise, velocity = torch.randn(100).double(), gaussian_velocity(1.5, 0.3)
    exact = 1.5 + 0.3 * noise
    errors = [
        (solve(velocity, noise, FlowOptions(steps, solver=solver)) - exact).abs().mean()
        for steps in (40, 80)
    ]
    assert 0.75 * 2**order < errors[0] / errors[1] < 1.4 * 2**order


def test_dpm_solver_reaches_the_exact_solution():
    noise, velocity = torch.randn(100), gaussian_velocity(1.5, 0.3)
    ours = solve(velocity, noise, FlowOptions(40, solver="dpm++"))
    assert float((ours - (1.5 + 0.3 * noise)).abs().max()) < 0.02


def test_guidance_of_one_is_the_conditional_velocity():
    conditional, unconditional = gaussian_velocity(1, 1), gaussian_velocity(0, 1)
    x = torch.randn(5)
    velocity = guided(conditional, unconditional, FlowOptions(guidance=1.0))
    assert torch.equal(velocity(x, 0.3), conditional(x, 0.3))


def test_guidance_acts_inside_its_interval_only():
    conditional, unconditional = gaussian_velocity(1, 1), gaussian_velocity(0, 1)
    x, options = torch.randn(5), FlowOptions(guidance=3.0, interval=(0.2, 0.6))
    velocity = guided(conditional, unconditional, options)
    assert torch.equal(velocity(x, 0.1), conditional(x, 0.1))
    c, u = conditional(x, 0.5), unconditional(x, 0.5)
    assert_close(velocity(x, 0.5), u + 3 * (c - u))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"guidance": -1.0}, "0 or more"),
        ({"interval": (0.9, 0.1)}, "two times"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        FlowOptions(**wrong)
