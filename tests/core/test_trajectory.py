import pytest
import torch
from torch.testing import assert_close

from core.flow import velocity
from core.sampling import FlowOptions, heun, solve, time_grid
from core.trajectory import watched


def bent(x: torch.Tensor, t: float) -> torch.Tensor:
    """A velocity that no solver follows exactly."""
    return torch.sin(3 * x) + t


@pytest.mark.parametrize("solver", ["euler", "heun", "dpm++"])
def test_who_is_watched_ends_where_the_solver_ends(solver):
    noise, options = torch.randn(2, 3, 4), FlowOptions(7, solver=solver)
    way = watched(bent, noise, options)
    assert torch.equal(way.noisy[-1], solve(bent, noise, options))
    assert torch.equal(way.noisy[0], noise)
    assert way.noisy.shape == way.clean.shape == (8, 2, 3, 4)
    assert way.times[0] == pytest.approx(0, abs=0.01)  # diffusers stays clear of infinite sigma
    assert way.times[-1] == 1.0


def test_states_are_those_that_a_solver_of_second_order_takes_not_those_it_tries():
    noise = torch.randn(2, 4)
    way, grid = watched(bent, noise, FlowOptions(5, solver="heun")), time_grid(5)
    for step in range(1, 5):
        assert torch.equal(way.noisy[step], heun(bent, noise, grid[: step + 1]))
    assert way.times == tuple(grid)


@pytest.mark.parametrize("prediction", ["x", "v"])
def test_a_network_that_knows_the_data_expects_it_at_every_step(prediction):
    data, noise = torch.randn(2, 4), torch.randn(2, 4)

    def knowing(x: torch.Tensor, t: float) -> torch.Tensor:
        output = data if prediction == "x" else (data - x) / (1 - t)
        return velocity(output, x, torch.full((2,), t), prediction)

    way = watched(knowing, noise, FlowOptions(40), prediction)
    assert_close(way.clean[:-1], data.expand(40, -1, -1), atol=1e-5, rtol=1e-4)
