from pathlib import Path

import pytest
import torch

from audio.excitation import hiss, pulses
from audio.losses import stft_loss
from audio.mel import MelConfig
from audio.metrics import median_pitch, pitch, pitch_error
from audio.vocoder import Vocoder, VocoderConfig
from audio.vocoder_module import VocoderModule
from core.checkpoint import load_module
from core.noise import mix

SMALL = VocoderConfig(width=16, depth=1, bands=8, pitches=24)
SEEDS = mix(0, torch.arange(2))


def voices() -> torch.Tensor:
    """Two monotonous voices of 100 and 200 Hz, silent at the end: [2, S]."""
    voices = 0.1 * pulses(torch.tensor([[100.0], [200.0]]).expand(2, 100), 104, 8000)
    return voices * (torch.arange(10400) < 7000)


def test_pulses_have_the_pitch_asked_for_and_unit_power():
    wave = pulses(torch.tensor([[90.0], [130.0], [240.0]]).expand(3, 100), 104, 8000)
    torch.testing.assert_close(
        median_pitch(wave), torch.tensor([90.0, 130.0, 240.0]), rtol=0.01, atol=0
    )
    torch.testing.assert_close(wave.square().mean(1), torch.ones(3), rtol=0.05, atol=0)


def test_pulses_glide_without_a_jump_of_phase():
    glide = torch.linspace(100, 200, 100)[None]
    found = pitch(pulses(glide, 104, 8000))[:, 5:-5]
    torch.testing.assert_close(found, glide[:, 5:-5], rtol=0.02, atol=0)


def test_hiss_is_always_the_same():
    torch.testing.assert_close(hiss(100, torch.device("cpu")), hiss(100, torch.device("cpu")))


def test_noise_has_no_pitch():
    assert (
        median_pitch(torch.randn(3, 8000, generator=torch.Generator().manual_seed(0))).isnan().all()
    )


def test_pitch_error_of_a_semitone_is_one():
    tones = [pulses(torch.full((1, 100), f), 104, 8000) for f in (150.0, 150.0 * 2 ** (1 / 12))]
    distance, agreement = pitch_error(*tones)
    torch.testing.assert_close(distance, torch.tensor(1.0), atol=0.05, rtol=0)
    assert agreement == 0


def test_stft_loss_is_zero_for_equals_and_blind_to_a_shift_in_phase():
    wave = voices()
    assert stft_loss(wave, wave) == 0
    assert stft_loss(-wave, wave) < 1e-5
    assert stft_loss(0.5 * wave, wave) > 0.5


@pytest.mark.parametrize("frames", [7, 50])
def test_a_frame_of_spectra_makes_a_hop_of_finite_sound(frames: int):
    wave = Vocoder(SMALL, MelConfig())(torch.randn(3, 64, frames))
    assert wave.shape == (3, frames * 208)
    assert wave.isfinite().all()


def test_silent_spectra_make_silence():
    silence = torch.full((1, 64, 50), MelConfig().floor).log()
    assert Vocoder(SMALL, MelConfig())(silence).abs().max() < 2e-3


def test_corrections_bring_the_spectra_nearer():
    torch.manual_seed(0)
    mel = Vocoder(SMALL, MelConfig()).log_mel(voices())

    def distance(corrections: int) -> float:
        torch.manual_seed(0)
        vocoder = Vocoder(VocoderConfig(16, 1, 8, pitches=24, corrections=corrections), MelConfig())
        return (vocoder.log_mel(vocoder(mel)) - mel).abs().mean().item()

    assert distance(4) < 0.5 * distance(0)


def test_a_hop_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="hop 50 must divide the spectra's hop 208"):
        Vocoder(VocoderConfig(hop=50), MelConfig())


def test_module_learns_two_voices():
    torch.manual_seed(0)
    module = VocoderModule(SMALL, crop=12)
    module.vocoder.fit(voices())
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    first = module.losses(voices(), SEEDS)
    for _ in range(40):
        losses = module.losses(voices(), SEEDS)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    assert losses["pitch"] < 0.5 * first["pitch"]
    assert losses["stft"] < 0.95 * first["stft"]


def test_checkpoint_rebuilds_the_vocoder(tmp_path: Path):
    module = VocoderModule(SMALL)
    module.vocoder.fit(voices())
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    rebuilt = load_module(tmp_path / "last.ckpt", VocoderModule).vocoder
    mel = rebuilt.log_mel(voices())
    assert rebuilt.trained
    torch.testing.assert_close(rebuilt(mel), module.vocoder(mel))
