import pytest
import torch
from torch.testing import assert_close

from core.flow import CLAMP, LogitNormal, flow_loss, interpolate, velocity
from core.noise import mix


def test_the_path_runs_from_noise_to_data():
    noise, x = torch.randn(2, 3, 4, 5)
    assert torch.equal(interpolate(noise, x, torch.zeros(3)), noise)
    assert torch.equal(interpolate(noise, x, torch.ones(3)), x)


def test_both_predictions_mean_the_same_velocity():
    noise, x = torch.randn(2, 3, 4, 5)
    time = torch.tensor([0.1, 0.5, 0.9])
    x_t = interpolate(noise, x, time)
    assert_close(velocity(x, x_t, time, "x"), x - noise, atol=1e-4, rtol=1e-4)
    assert_close(velocity(x - noise, x_t, time, "v"), x - noise)


@pytest.mark.parametrize("prediction", ["x", "v"])
def test_the_loss_is_the_squared_error_of_the_velocity(prediction):
    noise, x, output = torch.randn(3, 3, 4, 5)
    time = torch.tensor([0.1, 0.5, 0.9])
    v = velocity(output, interpolate(noise, x, time), time, prediction)
    assert_close(
        flow_loss(output, noise, x, time, prediction),
        (v - (x - noise)).square(),
        atol=1e-3,
        rtol=1e-3,
    )


def test_a_perfect_prediction_has_no_loss_even_at_the_clamp():
    noise, x = torch.randn(2, 3, 4, 5)
    loss = flow_loss(x, noise, x, torch.full((3,), 1 - CLAMP / 10), "x")
    assert float(loss.max()) == 0


def test_logit_normal_times_have_their_median_at_the_sigmoid_of_the_mean():
    times = LogitNormal(-1.0, 1.0).times(mix(0, torch.arange(20_000)))
    assert_close(times.median(), torch.sigmoid(torch.tensor(-1.0)), atol=0.01, rtol=0)
    assert times.min() > 0
    assert times.max() < 1


def test_a_flat_distribution_of_times_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        LogitNormal(0.0, 0.0)
