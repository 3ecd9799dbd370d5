from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audio.files import KERNEL, LEAD, LOUDNESS, PEAK, ratio, read_audio, trim, write_audio

RATE = 8_000


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def test_a_written_sound_reads_back_as_it_was(tmp_path: Path):
    wave = torch.rand(10_400) * 1.6 - 0.8
    write_audio(tmp_path / "a.wav", wave)
    torch.testing.assert_close(
        read_audio(tmp_path / "a.wav", fit="plain"), wave, atol=2**-14, rtol=0
    )


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (16_000, 1)])
def test_any_kind_rate_and_channel_count_gives_the_same_tone(
    tmp_path: Path, suffix: str, rate: int, channels: int
):
    data = np.stack([tone(0.8, rate)] * channels, axis=1)
    soundfile.write(tmp_path / f"a.{suffix}", data, rate)
    wave = read_audio(tmp_path / f"a.{suffix}")
    assert wave.shape == (10_400,)
    spectrum = torch.fft.rfft(wave).abs()
    assert spectrum.argmax() * RATE / len(wave) == pytest.approx(440, abs=2)
    assert wave[:6400].square().mean().sqrt() == pytest.approx(LOUDNESS, rel=0.05)


def test_silence_at_both_ends_is_cut_off_but_for_a_lead(tmp_path: Path):
    silence = np.random.default_rng(0).normal(0, 1e-3, RATE)
    data = np.concatenate([silence, tone(0.5, RATE), silence])
    wave = torch.from_numpy(data).float()
    assert len(trim(wave, RATE)) == pytest.approx((0.5 + 2 * LEAD) * RATE, abs=RATE // 50)


def test_what_is_too_long_is_cut_with_a_warning(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", tone(3, RATE), RATE)
    with pytest.warns(UserWarning, match=r"3\.0 s of sound; only the first 1\.3 s"):
        assert read_audio(tmp_path / "a.wav").shape == (10_400,)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("none.wav", "does not exist"),
        ("zero.wav", "empty"),
        ("brief.wav", "at least 0.02 s"),
        ("headonly.wav", "at least 0.02 s"),
        ("silent.wav", "is silent"),
        ("nan.wav", "no numbers"),
        ("note.wav", "no|not a WAV"),
        ("slow.wav", "10 samples a second"),
        ("cut.flac", "is damaged"),
    ],
)
def test_a_bad_recording_is_one_clear_line(tmp_path: Path, name: str, rule: str):
    (tmp_path / "zero.wav").touch()
    (tmp_path / "note.wav").write_text("this is no sound")
    soundfile.write(tmp_path / "brief.wav", tone(0.01, RATE), RATE)
    soundfile.write(tmp_path / "headonly.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "slow.wav", tone(1, RATE), 10)
    soundfile.write(tmp_path / "whole.flac", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:6000])
    with pytest.raises(ValueError, match=rule) as caught:
        read_audio(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_one_loud_click_does_not_clip(tmp_path: Path):
    data = 0.01 * tone(0.8, RATE)
    data[3_000] = 0.9
    soundfile.write(tmp_path / "a.wav", data, RATE)
    assert read_audio(tmp_path / "a.wav").abs().max() == pytest.approx(PEAK, abs=1e-3)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 37_800, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("target", [8_000, 16_000, 24_000])
def test_usual_rates_are_resampled_exactly(rate: int, target: int):
    assert ratio(rate, target) == Fraction(rate, target)


@pytest.mark.parametrize("rate", [4_001, 15_991, 44_101, 767_999])
def test_rates_without_a_common_divisor_need_no_giant_filter(tmp_path: Path, rate: int):
    found = ratio(rate, RATE)
    assert found.numerator * found.denominator <= KERNEL
    assert float(found) == pytest.approx(rate / RATE, rel=1e-3)
    soundfile.write(tmp_path / "a.wav", tone(0.8, rate), rate)
    spectrum = torch.fft.rfft(read_audio(tmp_path / "a.wav")).abs()
    assert spectrum.argmax() * RATE / 10_400 == pytest.approx(440, abs=2)


def test_other_kinds_that_the_decoder_knows_are_refused(tmp_path: Path):
    soundfile.write(tmp_path / "a.voc", tone(0.8, RATE), RATE)
    with pytest.raises(ValueError, match="is not a WAV, FLAC, OGG, MP3"):
        read_audio(tmp_path / "a.voc")
