"""Pairs of the user's own go down the whole chain, whatever modalities they have."""

from itertools import combinations
from pathlib import Path

import pytest
import soundfile
import torch

from core.checkpoint import load_module
from core.errors import UserError
from core.members import encode_clip, encode_flac, encode_png
from core.shards import write_shards
from multimodal.alignment import AlignmentModule
from multimodal.evaluate import evaluate
from multimodal.folder_shards import build_folder
from multimodal.prior import PriorModule
from multimodal.probes import probes
from multimodal.reader_training import train_readers
from multimodal.unison import Unison
from tests.multimodal.own_pairs import generate_all, train_all, write_files

ALL = ("text", "image", "audio", "video")


def chain(folder: Path, modalities: tuple[str, ...], rare: str = "") -> Path:
    source = write_files(folder / "my files", modalities, rare=rare)
    build_folder(source, folder / "shards", 0.3, "mine")
    run = train_all(folder / "shards", folder / "run", modalities)
    generate_all(run, source, modalities, folder / "out")
    return run


def test_pairs_of_text_and_pictures_with_a_rare_sound_train_and_generate(tmp_path: Path):
    run = chain(tmp_path, ("text", "image", "audio"), rare="audio")
    towers = load_module(run / "alignment" / "last.ckpt", AlignmentModule)
    assert list(towers.towers) == ["text", "image", "audio"]
    tokens = load_module(run / "prior" / "last.ckpt", PriorModule).tokens
    assert (tokens.modalities, tokens.queries) == (("text", "image", "audio"), {})
    unison = Unison(run)
    with pytest.raises(UserError, match="has no video model, only text, image, audio; leave video"):
        unison.generate(text="a thing", to=["video"])
    with pytest.raises(UserError, match="has no tower for video, only for text, image, audio"):
        unison.generate(video=torch.zeros(4, 3, 32, 32), to=["text"])


@pytest.mark.slow
@pytest.mark.parametrize("missing", ALL)
def test_any_modality_may_be_missing(tmp_path: Path, missing: str):
    chain(tmp_path, tuple(m for m in ALL if m != missing))


@pytest.mark.slow
@pytest.mark.parametrize("pair", list(combinations(ALL, 2)))
def test_any_two_modalities_are_enough(tmp_path: Path, pair: tuple[str, str]):
    chain(tmp_path, pair)


@pytest.mark.slow
@pytest.mark.parametrize("rare", ALL)
def test_any_modality_may_be_rare(tmp_path: Path, rare: str):
    chain(tmp_path, ALL, rare=rare)


def other_sizes(folder: Path, count: int = 6) -> Path:
    """Write shards of 16 kHz, 0.7 s, pictures of 28 pixels and clips of 3 frames of 20 pixels."""
    random = torch.Generator().manual_seed(0)

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)

    for split in ("train", "val"):
        rows = [
            {
                "__key__": f"{i}",
                "png": encode_png(pixels(3, 28, 28)),
                "video.npy": encode_clip(pixels(3, 3, 20, 20)),
                "flac": encode_flac(pixels(11_201).short() * 64, 16_000),
            }
            for i in range(count)
        ]
        write_shards(folder / split, rows, required=["png", "video.npy", "flac"], source="",
                     licence="", fields={"rate": 16_000, "seconds": 11_201 / 16_000})  # fmt: skip
    return folder


def test_signals_of_any_size_go_down_the_chain_without_an_option(tmp_path: Path):
    modalities = ("image", "audio", "video")
    run = train_all(other_sizes(tmp_path / "shards"), tmp_path / "run", modalities)
    source = write_files(tmp_path / "files", modalities, count=1)
    generate_all(run, source, modalities, tmp_path / "out")
    info = soundfile.info(tmp_path / "out" / "image" / "0.wav")
    assert (info.samplerate, info.frames) == (16_000, 11_201)
    assert "size: 28" in (run / "image" / "config.yaml").read_text()
    made = Unison(run).generate(to=["image", "video"], steps=1, first_frame=True)
    assert made["image"].shape == (1, 3, 28, 28)
    assert made["video"].shape == (1, 3, 3, 20, 20)


def test_commands_of_the_world_say_that_own_pairs_are_none(tmp_path: Path):
    source = write_files(tmp_path / "files", ("text", "image"))
    build_folder(source, tmp_path / "shards", 0.3, "mine")
    with pytest.raises(UserError, match="holds no factors"):
        probes(tmp_path / "shards", tmp_path / "shards")
    with pytest.raises(UserError, match="holds no factors"):
        evaluate(tmp_path, world=tmp_path / "shards")
    with pytest.raises(UserError, match="holds no factors"):
        train_readers(tmp_path / "shards", tmp_path / "readers", jobs=1)
