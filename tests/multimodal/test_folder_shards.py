from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.members import decode_clip, decode_flac, decode_png
from core.shards import ShardReader
from multimodal.folder_shards import build_folder, modality_of, pair_files, read_pairs


def draw_picture(path: Path, shade: int, **options) -> None:
    Image.new("RGB", (64, 64), (shade, 20, 20)).save(path, **options)


def record(path: Path, hertz: float) -> None:
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(22050) / 44100)
    soundfile.write(path, np.stack([wave, wave], 1), 44100)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    source = tmp_path / "mine"
    source.mkdir()
    for number, name in enumerate(("one", "two", "six")):
        draw_picture(source / f"{name}.png", 60 * number)
        (source / f"{name}.txt").write_text(f"a {name}")
    record(source / "one.wav", 200)
    frames = [Image.new("RGB", (64, 64), (0, 0, 50 * f)) for f in range(4)]
    frames[0].save(source / "two.gif", save_all=True, append_images=frames[1:])
    return source


def read_all(out: Path) -> dict[str, dict]:
    readers = [ShardReader(out / split) for split in ("train", "val")]
    samples = [reader.read(index) for reader in readers for index in range(len(reader))]
    return {sample["txt"].decode(): sample for sample in samples}


def test_files_of_one_stem_become_one_sample_partially_too(files: Path, tmp_path: Path):
    build_folder(files, tmp_path / "out", 0.3, "mine alone")
    samples = read_all(tmp_path / "out")
    assert set(samples["a one"]) == {"__key__", "txt", "png", "flac"}
    assert set(samples["a two"]) == {"__key__", "txt", "png", "video.npy"}
    assert set(samples["a six"]) == {"__key__", "txt", "png"}


def test_members_have_the_shapes_of_the_world(files: Path, tmp_path: Path):
    build_folder(files, tmp_path / "out", 0.3, "mine alone")
    samples = read_all(tmp_path / "out")
    assert decode_png(samples["a one"]["png"]).shape == (3, 32, 32)
    assert decode_flac(samples["a one"]["flac"], 8000).shape == (10_400,)
    assert decode_clip(samples["a two"]["video.npy"]).shape == (4, 3, 32, 32)


def test_what_has_no_partner_or_cannot_be_read_is_counted(tmp_path: Path):
    draw_picture(tmp_path / "alone.png", 9)
    draw_picture(tmp_path / "pair.png", 9)
    draw_picture(tmp_path / "pair.jpg", 9)
    (tmp_path / "pair.txt").write_text("a pair")
    (tmp_path / "pair.wav").write_bytes(b"no sound")
    dropped: Counter[str] = Counter()
    samples = list(read_pairs(pair_files(sorted(tmp_path.iterdir()), dropped), dropped))
    assert [set(sample) for sample in samples] == [{"png", "txt"}]
    assert dropped == {"no partner": 1, "second file of a modality": 1, "undecodable audio": 1}


NAMES = st.text("ab.-", min_size=1, max_size=4).filter(lambda name: name[0] != ".")
PATHS = st.tuples(st.sampled_from(["", "a/", "a.b/", "a.b/a/"]), NAMES,
                  st.sampled_from([".txt", ".png", ".jpg"])).map("".join)  # fmt: skip


@given(st.sets(PATHS, max_size=12))
def test_groups_are_those_of_a_table_of_all_files(names: set[str]):
    files = sorted(Path("x") / name for name in names)
    table: dict[Path, dict[str, Path]] = {}
    for path in files:
        table.setdefault(path.with_suffix(""), {}).setdefault(modality_of(path), path)
    dropped: Counter[str] = Counter()
    found = [dict(group) for group in pair_files(files, dropped)]
    assert found == list(table.values())
    assert dropped.total() == len(files) - sum(map(len, table.values()))


def test_a_webp_that_moves_is_a_video(tmp_path: Path):
    draw_picture(tmp_path / "still.webp", 9)
    frames = [Image.new("RGB", (64, 64), (0, 0, 80 * f)) for f in range(3)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    groups = pair_files(sorted(tmp_path.iterdir()), Counter())
    assert [list(group) for group in groups] == [["video"], ["image"]]
