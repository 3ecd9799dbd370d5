from unittest.mock import Mock

import lightning as L
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from core.ema import PowerEMA, power_decay

GAMMA = 6.94


class Weights(L.LightningModule):
    def __init__(self, value=0.0):
        super().__init__()
        self.learnt = nn.Parameter(torch.full((3,), value))
        self.frozen = nn.Parameter(torch.full((2,), value), requires_grad=False)


def advance(ema, module, step, value=None):
    if value is not None:
        nn.init.constant_(module.learnt, value)
    ema.on_train_batch_end(Mock(spec=L.Trainer, global_step=step), module)


def average(ema):
    return float(ema.average["learnt"][0])


def test_the_first_step_forgets_the_initial_weights():
    assert power_decay(1) == 0
    ema, module = PowerEMA(), Weights(5.0)
    advance(ema, module, 1, 2.0)
    assert average(ema) == 2.0


def test_the_horizon_grows_with_the_run():
    decays = [power_decay(step) for step in range(1, 200)]
    assert decays == sorted(decays)
    assert power_decay(10_000) == pytest.approx(1 - (GAMMA + 1) / 10_000, rel=1e-4)


def test_the_average_of_constant_weights_is_those_weights():
    ema, module = PowerEMA(), Weights()
    for step in range(1, 50):
        advance(ema, module, step, 0.7)
    assert average(ema) == pytest.approx(0.7, rel=1e-6)


def test_the_average_of_a_ramp_is_that_of_the_power_profile():
    """With weights t^gamma on time t the mean of t over [0, T] is T (gamma + 1) / (gamma + 2)."""
    ema, module, steps = PowerEMA(GAMMA), Weights(), 2000
    for step in range(1, steps + 1):
        advance(ema, module, step, step / steps)
    assert average(ema) == pytest.approx((GAMMA + 1) / (GAMMA + 2), rel=2e-3)


def test_batches_of_one_optimiser_step_count_once():
    ema, module = PowerEMA(), Weights()
    advance(ema, module, 1, 1.0)
    advance(ema, module, 2, 0.0)
    once = average(ema)
    advance(ema, module, 2, 0.0)
    assert average(ema) == once


def test_swapping_twice_changes_nothing_and_frozen_weights_take_no_part():
    ema, module = PowerEMA(), Weights(1.0)
    advance(ema, module, 1)
    advance(ema, module, 2, 3.0)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    assert ema.average.keys() == {"learnt"}
    held = average(ema)
    ema.swap(module)
    assert float(module.learnt[0].detach()) == held
    assert torch.equal(module.frozen, before["frozen"])
    ema.swap(module)
    assert_close(dict(module.state_dict()), before, rtol=0, atol=0)
    assert average(ema) == held


def test_an_average_that_was_read_follows_the_weights_to_their_device():
    ema, module = PowerEMA(), Weights().to("meta")
    ema.on_load_checkpoint(Mock(spec=L.Trainer), module, {"ema": {"learnt": torch.zeros(3)}})
    ema.on_train_start(Mock(spec=L.Trainer), module)
    assert ema.average["learnt"].is_meta


def test_a_resumed_average_goes_on_as_if_there_had_been_no_break():
    whole, broken, module = PowerEMA(), PowerEMA(), Weights()
    for step in range(1, 5):
        for ema in (whole, broken):
            advance(ema, module, step, step * 0.1)
    checkpoint = {}
    broken.on_save_checkpoint(Mock(spec=L.Trainer), module, checkpoint)
    advance(broken, module, 5, 100.0)  # lost with the interrupted run
    resumed = PowerEMA()
    resumed.on_load_checkpoint(Mock(spec=L.Trainer), module, checkpoint)
    for ema in (whole, resumed):
        advance(ema, module, 5, 0.5)
    assert average(resumed) == average(whole)
