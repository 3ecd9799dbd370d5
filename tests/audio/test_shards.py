import numpy as np
import pytest
import soundfile
import torch

from audio.data import AudioData
from audio.shards import shards
from core.manifest import Manifest
from core.members import decode_flac, encode_flac
from core.shards import ShardReader, write_shards


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
    assert splits[0].dropped == {
        "duplicate": 1, "too small": 1, "silent": 1, "undecodable": 1
    }  # fmt: skip


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


def keys_and_recordings(folder) -> list[tuple[str, bytes]]:
    reader = ShardReader(folder)
    return [
        (reader.read(i)["__key__"], reader.read(i)["recording.txt"]) for i in range(len(reader))
    ]


def test_long_recordings_become_pieces_and_none_is_in_both_splits(tmp_path, capsys):
    (tmp_path / "sounds").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, (6, 8000 * 7))
    for number, data in enumerate(noise):
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", data, 8000)
    shards(tmp_path / "sounds", tmp_path / "out", pieces=True, seconds=1.3, val_fraction=0.4)
    train, val = (keys_and_recordings(tmp_path / "out" / split) for split in ("train", "val"))
    assert len(train) + len(val) == 6 * 6  # the last of each is 0.5 s and padded
    of_train, of_val = ({recording for _, recording in keys} for keys in (train, val))
    assert not of_train & of_val
    assert len(of_train) + len(of_val) == 6
    assert "changed" not in capsys.readouterr().out.splitlines()[-1]


def test_pieces_follow_each_other_without_a_gap(tmp_path):
    (tmp_path / "sounds").mkdir()
    data = np.random.default_rng(0).normal(0, 0.1, 8000 * 150)
    soundfile.write(tmp_path / "sounds" / "a.wav", data, 8000)
    shards(tmp_path / "sounds", tmp_path / "out", pieces=True, seconds=7.7)
    whole = {}
    for split in ("train", "val"):
        reader = ShardReader(tmp_path / "out" / split)
        whole |= {reader.read(i)["__key__"]: reader.read(i)["flac"] for i in range(len(reader))}
    joined = torch.cat([decode_flac(whole[key], 8000) for key in sorted(whole)])[: len(data)]
    torch.testing.assert_close(joined / 32768, torch.from_numpy(data).float(), atol=1e-4, rtol=0)


def test_what_is_cut_resampled_or_beyond_full_scale_is_told_and_refused_by_strict(tmp_path, capsys):
    (tmp_path / "sounds").mkdir()
    for number in range(3):
        data = 4 * tone(300 + number, 2, 16_000, 1)
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", data, 16_000, subtype="FLOAT")
    shards(tmp_path / "sounds", tmp_path / "out")
    last = capsys.readouterr().out.splitlines()[-1]
    for told in ("3 cut (--pieces keeps all", "3 resampled (another --rate", "3 beyond full scale"):
        assert told in last
    with pytest.raises(ValueError, match="3 cut"):
        shards(tmp_path / "sounds", tmp_path / "other", strict=True)


def test_more_than_ten_minutes_are_cut_like_any_other_length(tmp_path, capsys):
    (tmp_path / "sounds").mkdir()
    for number in range(2):
        data = np.random.default_rng(number).normal(0, 0.1, 4000 * 601)
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", data, 4000)
    shards(tmp_path / "sounds", tmp_path / "out", rate=4000)
    assert "2 cut (--pieces" in capsys.readouterr().out.splitlines()[-1]


def test_silent_and_short_pieces_are_counted(tmp_path):
    (tmp_path / "sounds").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    data = np.concatenate([noise, np.zeros(16_000), -noise, np.zeros(100)])
    soundfile.write(tmp_path / "sounds" / "a.wav", data, 8000)
    shards(tmp_path / "sounds", tmp_path / "out", pieces=True, seconds=1.0)
    counts = Manifest.load(tmp_path / "out" / "train").dropped
    assert counts == {"silent": 2, "too small": 1}
