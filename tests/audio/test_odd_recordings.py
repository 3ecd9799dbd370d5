"""Recordings that are not simply one channel in a whole file of a usual kind."""

import io
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch

from audio.files import SilentError, read_audio, weigh_audio
from core.errors import UserError

RATE = 8_000


def tone(seconds: float = 1.0, hertz: float = 440.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def pitch(wave: torch.Tensor) -> float:
    return float(torch.fft.rfft(wave).abs().argmax() * RATE / len(wave))


def plain(path: Path, seconds: float = 1.0) -> torch.Tensor:
    return read_audio(path, RATE, round(seconds * RATE), fit="plain")


def wav(data: np.ndarray, size: int, riff: int | None = None, before: bytes = b"") -> bytes:
    """Return a 16-bit WAV whose header announces so many bytes of data."""
    pcm = np.round(data * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    riff = size + 36 + len(before) if riff is None else riff
    head = b"RIFF" + struct.pack("<I", riff % 2**32) + b"WAVE" + before
    return head + b"fmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size % 2**32) + pcm


JUNK = b"JUNK" + struct.pack("<I", 7) + bytes(8)


@pytest.mark.parametrize("size", [0, 2**32 - 1, 2**32 - 2, 2**31, 10**6, 2 * RATE])
@pytest.mark.parametrize("riff", [None, 0, 2**32 - 1])
@pytest.mark.parametrize("before", [b"", JUNK])
def test_a_wav_that_was_not_closed_gives_what_follows(tmp_path, size, riff, before):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(tone(), size, riff, before))
    torch.testing.assert_close(plain(path), torch.from_numpy(tone()).float(), atol=1e-3, rtol=0)
    assert weigh_audio(path) >= RATE


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_width_of_samples_is_full_scale(tmp_path: Path, subtype: str):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype=subtype)
    expected = torch.from_numpy(tone()).float()
    torch.testing.assert_close(plain(tmp_path / "a.wav"), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("factor", [1.5, 8.0, 65536.0])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_what_is_beyond_full_scale_becomes_quieter_and_is_not_clipped(tmp_path, factor, rate):
    data = 2 * factor * tone(rate=rate)
    soundfile.write(tmp_path / "a.wav", data, rate, subtype="FLOAT")
    wave = plain(tmp_path / "a.wav")
    assert wave.abs().max() == pytest.approx(1, abs=1e-3)
    middle = wave[500:-500].numpy()
    assert np.corrcoef(middle, tone()[500:-500])[0, 1] > 0.9999


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_sample_that_is_no_number_is_told(tmp_path: Path, value: float):
    data = np.stack([tone(), tone()], 1)
    data[100, 1] = value
    soundfile.write(tmp_path / "a.wav", data, RATE, subtype="FLOAT")
    with pytest.raises(UserError, match="no numbers"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("level", [0.0, 0.4])
def test_a_constant_is_silence(tmp_path: Path, level: float):
    soundfile.write(tmp_path / "a.wav", np.full((RATE, 2), level), RATE)
    with pytest.raises(SilentError, match="is silent"):
        read_audio(tmp_path / "a.wav")


def test_an_offset_neither_hides_silent_ends_nor_makes_a_sound_quiet(tmp_path: Path):
    data = np.concatenate([np.zeros(RATE // 2), 0.1 * tone(0.5), np.zeros(RATE // 2)])
    for name, offset in (("a", 0.0), ("b", 0.5)):
        soundfile.write(tmp_path / f"{name}.wav", data + offset, RATE)
    a, b = (read_audio(tmp_path / f"{name}.wav") for name in "ab")
    torch.testing.assert_close(a, b, atol=0.01, rtol=0)


@pytest.mark.parametrize("gain", [-1.0, -0.9])
@pytest.mark.parametrize("fit", ["auto", "plain"])
def test_channels_of_opposite_phase_are_heard(tmp_path: Path, gain: float, fit):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), gain * tone()], 1), RATE)
    wave = read_audio(tmp_path / "a.wav", RATE, RATE, fit)
    assert pitch(wave) == pytest.approx(440, abs=2)
    assert wave.abs().max() > (0.4 if fit == "plain" else 0.1)


def test_channels_that_cancel_in_a_part_are_heard_there(tmp_path: Path):
    left = np.concatenate([tone(0.5, 300), tone(0.5, 600)])
    right = np.concatenate([tone(0.5, 300), -tone(0.5, 600)])
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE)
    wave = plain(tmp_path / "a.wav")
    torch.testing.assert_close(wave, torch.from_numpy(left).float(), atol=1e-3, rtol=0)


def test_four_channels_that_cancel_are_heard(tmp_path: Path):
    data = np.stack([tone(), tone(), -tone(), -tone()], 1)
    soundfile.write(tmp_path / "a.wav", data, RATE)
    assert plain(tmp_path / "a.wav").abs().max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_that_have_nothing_to_do_with_each_other_are_averaged(tmp_path, channels: int):
    data = np.random.default_rng(0).normal(0, 0.1, (RATE, channels))
    soundfile.write(tmp_path / "a.wav", data, RATE, subtype="FLOAT")
    expected = torch.from_numpy(data.mean(1)).float()
    torch.testing.assert_close(plain(tmp_path / "a.wav"), expected, atol=1e-6, rtol=0)


def test_one_channel_of_several_is_heard_at_its_share(tmp_path: Path):
    data = np.zeros((RATE, 4))
    data[:, 2] = tone()
    soundfile.write(tmp_path / "a.wav", data, RATE)
    assert plain(tmp_path / "a.wav").abs().max() == pytest.approx(0.5 / 4, abs=0.01)


def encoded(path: Path, codec: str, channels: int = 1, rate: int = 48_000) -> Path:
    """Write a second of 440 Hz by FFmpeg; a picture goes along into what is named .mp4."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5) if path.suffix == ".mp4" else None
        layout = {1: "mono", 2: "stereo"}[channels]
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        if video is not None:
            video.height = video.width = 32
            video.pix_fmt = "yuv420p"
            for _ in range(5):
                black = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
                container.mux(video.encode(black))
            container.mux(video.encode(None))
        data = np.repeat(tone(rate=rate)[None].astype(np.float32), channels, 0)
        frame = av.AudioFrame.from_ndarray(data, "fltp", layout)
        frame.rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.m4a", "aac"), ("a.mp4", "aac"), ("a.mov", "pcm_s16le"), ("a.aac", "aac"),
        ("a.mka", "pcm_s24le"), ("a.webm", "libopus"), ("a.opus", "libopus"), ("a.oga", "libopus"),
        ("a.m4a", "alac"), ("a.aiff", "pcm_s16be"), ("a.caf", "pcm_s16le"), ("a.w64", "pcm_s16le"),
        ("a.flac", "flac"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_usual_containers_give_the_same_tone(tmp_path, name: str, codec: str, channels: int):
    path = encoded(tmp_path / name, codec, channels)
    (tmp_path / "upload").write_bytes(path.read_bytes())  # told by content, not by name
    wave = plain(tmp_path / "upload")
    assert pitch(wave) == pytest.approx(440, abs=2)
    assert wave[1000:7000].square().mean().sqrt() == pytest.approx(0.5**1.5, rel=0.03)
    assert weigh_audio(path) == pytest.approx(48_000 * channels, rel=0.1)


def test_an_mp3_with_a_tag_and_a_cover_is_read(tmp_path: Path):
    stream = io.BytesIO()
    soundfile.write(stream, tone(), RATE, format="MP3")
    cover = b"APIC" + struct.pack(">I", 90_014) + b"\0\0" + b"\0image/jpeg\0\x03\0" + bytes(90_000)
    size = bytes(len(cover) >> shift & 127 for shift in (21, 14, 7, 0))
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3\x03\0\0" + size + cover + stream.getvalue())
    assert pitch(plain(path)) == pytest.approx(440, abs=2)


def test_a_flac_that_does_not_know_its_length_is_read(tmp_path: Path):
    soundfile.write(tmp_path / "a.flac", tone(), RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    word = int.from_bytes(data[18:26], "big") >> 36 << 36
    data[18:26] = word.to_bytes(8, "big")
    (tmp_path / "a.flac").write_bytes(data)
    assert pitch(plain(tmp_path / "a.flac")) == pytest.approx(440, abs=2)


def test_a_film_without_sound_is_one_line(tmp_path: Path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            black = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            container.mux(stream.encode(black))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="holds no sound"):
        read_audio(tmp_path / "a.mp4")


@pytest.mark.parametrize("length", [0, 1, 2, 100])
def test_next_to_nothing_is_told(tmp_path: Path, length: int):
    (tmp_path / "a.wav").write_bytes(wav(tone()[:length], 2 * length))
    with pytest.raises(UserError, match=r"at least 0\.02 s"):
        read_audio(tmp_path / "a.wav")
