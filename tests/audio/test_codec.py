import pytest
import torch
from torchaudio.functional import griffinlim
from torchaudio.transforms import MelSpectrogram

from audio.codec import MelCodec
from audio.mel import LogMel, MelConfig
from audio.spectrum import griffin_lim, istft, stft

CONFIG = MelConfig()
SAMPLES = 10400


def voice(pitch: float = 140.0, samples: int = SAMPLES) -> torch.Tensor:
    """A buzz of falling harmonics that swells and fades: [1, S]."""
    time = torch.arange(samples) / CONFIG.rate
    harmonics = torch.arange(1, int(3600 / pitch))
    buzz = (torch.sin(2 * torch.pi * pitch * harmonics[:, None] * time) / harmonics[:, None]).sum(0)
    return (0.3 * buzz * torch.sin(torch.pi * time / time[-1]).square())[None]


@pytest.fixture(scope="module")
def codec() -> MelCodec:
    codec = MelCodec(CONFIG, SAMPLES)
    codec.fit(torch.cat([voice(p) for p in (90.0, 140.0, 220.0)]))
    return codec


def test_mel_equals_torchaudio():
    wave = voice()
    theirs = MelSpectrogram(
        CONFIG.rate, CONFIG.window, hop_length=CONFIG.hop, n_mels=CONFIG.mels, power=1, center=False
    )
    pad = (CONFIG.window - CONFIG.hop) // 2
    expected = theirs(torch.nn.functional.pad(wave, (pad, pad))).clamp_min(CONFIG.floor).log()
    torch.testing.assert_close(LogMel(CONFIG)(wave), expected, atol=1e-5, rtol=1e-4)


def test_every_mel_band_hears_something():
    assert (LogMel(CONFIG).bank.sum(0) > 0).all()


def test_inverse_spectra_return_the_wave():
    wave, window = voice(), torch.hann_window(CONFIG.window)
    spectra = stft(wave, window, CONFIG.hop)
    assert spectra.shape == (1, 257, 50)
    torch.testing.assert_close(istft(spectra, window, CONFIG.hop), wave, atol=1e-5, rtol=1e-4)


def test_griffin_lim_comes_as_near_as_torchaudios():
    wave, window, hop = voice(), torch.hann_window(512), 128

    def distance(rebuilt: torch.Tensor) -> torch.Tensor:
        target = stft(wave, window, hop).abs()
        return (stft(rebuilt, window, hop).abs() - target).norm() / target.norm()

    ours = griffin_lim(stft(wave, window, hop).abs(), window, hop)
    magnitude = torch.stft(wave, 512, hop, window=window, return_complex=True).abs()
    theirs = griffinlim(magnitude, window, 512, hop, 512, 1, 32, 0.99, wave.shape[1], False)
    assert distance(ours) < 1.1 * distance(theirs)


def test_tokens_are_one_a_frame_and_of_unit_variance(codec: MelCodec):
    tokens = codec.encode(torch.cat([voice(p) for p in (90.0, 140.0, 220.0)]))
    assert tokens.shape == (3, 50, 64)
    assert codec.positions.shape == (50, 1)
    assert tokens.mean().abs() < 1e-3
    torch.testing.assert_close(tokens.std(), torch.tensor(1.0), atol=0.01, rtol=0)


def test_all_components_lose_nothing(codec: MelCodec):
    wave = voice(170.0)
    spectra = codec.spectra(codec.encode(wave))
    torch.testing.assert_close(spectra, codec.log_mel(wave), atol=1e-3, rtol=1e-3)


def test_fewer_components_make_narrower_tokens():
    few = MelCodec(CONFIG, SAMPLES, frames_per_token=2, components=48)
    waves = torch.cat([voice(p) for p in (90.0, 140.0, 220.0)])
    few.fit(waves)
    tokens = few.encode(waves)
    assert tokens.shape == (3, 25, 48)
    assert (few.spectra(tokens) - few.log_mel(waves)).abs().mean() < 0.1


def test_two_frames_a_token_hold_the_same_spectra(codec: MelCodec):
    pairs = MelCodec(CONFIG, SAMPLES, frames_per_token=2)
    tokens = pairs.encode(voice())
    assert tokens.shape == (1, 25, 128)
    torch.testing.assert_close(pairs.spectra(tokens), codec.log_mel(voice()))


def test_round_trip_by_griffin_lim_keeps_the_spectra(codec: MelCodec):
    wave = voice()
    rebuilt = codec.decode(codec.encode(wave))
    assert rebuilt.shape == wave.shape
    assert (codec.log_mel(rebuilt) - codec.log_mel(wave)).abs().mean() < 0.5


def test_silence_stays_silent(codec: MelCodec):
    assert codec.decode(codec.encode(torch.zeros(1, SAMPLES))).abs().max() < 1e-3


def test_statistics_travel_in_the_state_dict(codec: MelCodec):
    fresh = MelCodec(CONFIG, SAMPLES)
    assert not fresh.fitted
    fresh.load_state_dict(codec.state_dict())
    assert fresh.fitted
    torch.testing.assert_close(fresh.encode(voice()), codec.encode(voice()))


def test_a_wave_of_another_length_is_one_clear_line(codec: MelCodec):
    with pytest.raises(ValueError, match="10000 samples came but the model expects 10400"):
        codec.encode(torch.zeros(1, 10000))


@pytest.mark.parametrize(
    ("rate", "samples", "frames"),
    [(8000, SAMPLES, 3), (16_000, 80_000, 2), (44_100, 50_001, 2), (8000, 1, 2), (22_050, 207, 1)],
)
def test_sounds_of_any_rate_and_length_keep_their_length(rate, samples, frames):
    config = MelConfig.at(rate)
    codec = MelCodec(config, samples, frames_per_token=frames)
    tokens = codec.encode(0.1 * torch.randn(2, samples))
    assert len(codec.positions) == tokens.shape[1] == -(-samples // (config.hop * frames))
    assert codec.decode(tokens).shape == (2, samples)


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_frames_last_as_long_at_any_rate(rate):
    config = MelConfig.at(rate)
    assert config.hop / rate == pytest.approx(0.026, rel=0.04)
    assert config.window / rate == pytest.approx(0.064, rel=0.04)
    assert MelConfig.at(8000) == MelConfig()
