"""The chains on data that no code of ours made; UNISON_DATA names the folder that has it."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
import soundfile

from audio.data import AudioData
from audio.generate import generate
from audio.module import AudioModule
from audio.shards import shards
from core.shards import ShardReader
from multimodal.folder_shards import build_folder
from tests.multimodal.own_pairs import NET, generate_all, run_trainer, train_all, vocoder_of

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "audio" / "world.yaml"


def data(*parts: str) -> Path:
    path = Path(os.environ.get("UNISON_DATA", "nowhere"), *parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not in the folder that UNISON_DATA names")
    return path


def unpack(tar: Path, folder: Path, suffixes: tuple[str, ...], most: int = 10**6) -> Path:
    """Write a tar's files of some kinds into a folder."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(tar) as members:
        for member in members:
            if member.name.endswith(suffixes) and (file := members.extractfile(member)):
                (folder / Path(member.name).name.replace(".sfx", "")).write_bytes(file.read())
                most -= 1
            if not most:
                break
    return folder


def captioned_pictures(folder: Path) -> Path:
    """Write tuxpaint's stamps as a user would have them: picture, caption and, of some, a sound."""
    source = unpack(data("tuxpaint", "stamps.tar"), folder, (".png", ".sfx.flac"))
    with tarfile.open(data("tuxpaint", "stamps.tar")) as members:
        for member in members:
            if member.name.endswith(".json") and (file := members.extractfile(member)):
                caption = json.load(io.TextIOWrapper(file, "utf-8"))["caption"]
                (source / Path(member.name).name).with_suffix(".txt").write_text(caption)
    return source


@pytest.mark.data
@pytest.mark.slow
def test_captioned_pictures_with_some_sounds_go_down_the_chain(tmp_path: Path):
    source = captioned_pictures(tmp_path / "stamps")
    build_folder(source, tmp_path / "shards", 0.1, "GPL-2")
    readers = [ShardReader(tmp_path / "shards" / split) for split in ("train", "val")]
    assert sum(reader.has("flac").sum() for reader in readers) > 100
    modalities = ("text", "image", "audio")
    run = train_all(tmp_path / "shards", tmp_path / "run", modalities)
    given = next(iter(sorted(source.glob("*.flac")))).with_suffix("")
    for suffix in (".png", ".wav"):
        file = given.with_suffix(".flac" if suffix == ".wav" else suffix)
        (source / f"thing 0{suffix}").write_bytes(file.read_bytes())
    generate_all(run, source, modalities, tmp_path / "out")


@pytest.mark.data
def test_environmental_sounds_of_5_s_at_16_khz_need_no_option(tmp_path: Path):
    source = unpack(data("esc10", "fold1.tar"), tmp_path / "sounds", (".flac",), most=12)
    shards(source, tmp_path / "shards", rate=16_000, seconds=5.0, val_fraction=0.3)
    vocoder = vocoder_of(tmp_path / "shards", tmp_path)
    options = (f"--config={CONFIG}", f"--data.root={tmp_path / 'shards'}", *vocoder, *NET.split())
    run_trainer(AudioModule, AudioData, tmp_path / "audio", *options, "--trainer.max_steps=2")
    generate(str(tmp_path / "audio" / "last.ckpt"), str(tmp_path / "out"), count=1)
    info = soundfile.info(tmp_path / "out" / "0.wav")
    assert (info.samplerate, info.frames) == (16_000, 80_000)
