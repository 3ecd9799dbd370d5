"""The pitch estimator on sounds whose pitch is known."""

import math

import pytest
import torch

from multimodal.pitch import pitch

RATE = 8000


def buzz(hertz: float, *, seconds: float = 1.0) -> torch.Tensor:
    """Ten harmonics with falling strength, as a voice has."""
    time = torch.arange(int(seconds * RATE)) / RATE
    return sum(torch.sin(2 * math.pi * hertz * k * time) / k for k in range(1, 11)) / 3


@pytest.mark.parametrize("hertz", [75, 100, 140, 220, 310, 450])
def test_pitch_of_a_buzz_is_its_fundamental(hertz):
    assert float(pitch(buzz(hertz)[None], RATE)) == pytest.approx(hertz, rel=0.01)


def test_pitch_ignores_silence_around_the_sound_and_its_loudness():
    padded = torch.cat([torch.zeros(2000), 0.01 * buzz(180, seconds=0.5), torch.zeros(3000)])
    assert float(pitch(padded[None], RATE)) == pytest.approx(180, rel=0.02)


def test_noise_and_silence_have_no_pitch():
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    assert pitch(torch.cat([noise, torch.zeros(1, RATE)]), RATE).isnan().all()
