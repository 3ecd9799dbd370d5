import pytest
import torch
from scipy import stats

from core.noise import integers, mix, normal, seeds_tensor, uniform


def test_a_samples_noise_does_not_depend_on_its_neighbours():
    seeds = mix(0, 3, torch.arange(8))
    together = normal(seeds, (5, 7))
    alone = torch.cat([normal(seed[None], (5, 7)) for seed in seeds])
    assert torch.equal(together, alone)


def test_noise_is_standard_normal():
    values = normal(mix(1, torch.arange(64)), (501,)).flatten().double().numpy()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert stats.kstest(values[::2], "norm").pvalue > 1e-3


def test_uniform_is_uniform_and_open():
    values = uniform(mix(2, torch.arange(1000)), (100,)).flatten()
    assert values.min() > 0
    assert values.max() < 1
    assert stats.kstest(values.double().numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("other", [{"stream": 1}, {"seed": 1}])
def test_streams_and_seeds_are_uncorrelated(other):
    a = normal(mix(0, torch.arange(100)), (1000,)).flatten()
    b = normal(
        mix(other.get("seed", 0), torch.arange(100)), (1000,), stream=other.get("stream", 0)
    ).flatten()
    assert abs(float((a * b).mean())) < 0.015


def test_mixing_is_sensitive_to_the_order_of_keys():
    assert int(mix(1, 2)) != int(mix(2, 1))


def test_integers_cover_their_range_evenly():
    counts = torch.bincount(integers(seeds_tensor(range(10_000)), 8), minlength=8)
    assert len(counts) == 8
    assert (counts - 1250).abs().max() < 150
