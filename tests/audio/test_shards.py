import numpy as np
import pytest
import soundfile
import torch

from audio.data import AudioData
from audio.shards import shards
from core.manifest import Manifest
from core.members import encode_flac
from core.shards import write_shards


def tone(hertz: float, seconds: float, rate: int, channels: int) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave] * channels, axis=1)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    kinds = [("wav", 44100, 2), ("flac", 16000, 1), ("ogg", 22050, 2), ("mp3", 44100, 1)]
    for i, (kind, rate, channels) in enumerate(kinds):
        soundfile.write(folder / f"{i}.{kind}", tone(200 + 50 * i, 1, rate, channels), rate)
    soundfile.write(folder / "copy.wav", tone(200, 1, 44100, 2), 44100)
    soundfile.write(folder / "long.wav", tone(300, 3, 8000, 1), 8000)
    soundfile.write(folder / "short.wav", tone(300, 0.05, 8000, 1), 8000)
    soundfile.write(folder / "silent.wav", np.zeros(8000), 8000)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


def test_a_folder_of_recordings_becomes_two_splits_and_the_rest_is_counted(source, tmp_path):
    shards(source, tmp_path / "out", val_fraction=0.3)
    splits = [Manifest.load(tmp_path / "out" / split) for split in ("train", "val")]
    assert sum(manifest.samples for manifest in splits) == 5
    assert splits[0].dropped == {"duplicate": 1, "too small": 1, "undecodable": 2}


def test_audio_data_gives_sounds_of_one_rate_and_length(source, tmp_path):
    shards(source, tmp_path / "out")
    batch = next(iter(AudioData(str(tmp_path / "out"), batch_size=4).train_dataloader()))
    assert batch["audio"].shape == (4, 10_400)
    assert 0.45 < batch["audio"].abs().max() < 0.6


def test_short_sounds_are_padded_with_silence(tmp_path):
    half = torch.full((80,), 16384, dtype=torch.int16)

    samples = ({"__key__": str(i), "flac": encode_flac(half + i, 8000)}
               for i in range(2))  # fmt: skip
    write_shards(tmp_path / "train", samples, required=["flac"], source="", licence="")
    (batch,) = AudioData(str(tmp_path), seconds=0.02, batch_size=2).train_dataloader()
    assert batch["audio"].shape == (2, 160)
    assert (batch["audio"][:, :80] - 0.5).abs().max() < 1e-4
    assert not batch["audio"][:, 80:].any()


def test_another_rate_is_an_error_that_names_the_sample_and_the_way_out(source, tmp_path):
    shards(source, tmp_path / "out", rate=16_000)
    batches = AudioData(str(tmp_path / "out"), rate=8000, batch_size=4).train_dataloader()
    with pytest.raises(ValueError, match=r"sample 0.* 16000 Hz .* 8000 Hz .* --rate 8000"):
        next(iter(batches))


def test_sounds_of_any_rate_and_length_are_read_as_the_shards_hold_them(source, tmp_path):
    shards(source, tmp_path / "out", rate=16_000, seconds=0.7)
    batch = next(iter(AudioData(str(tmp_path / "out"), batch_size=4).train_dataloader()))
    assert batch["audio"].shape == (4, 11_200)
