import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.engine import Local
from core.manifest import Manifest
from core.members import decode_clip, decode_flac, decode_png
from core.shards import ShardReader
from multimodal.folder_shards import Signals, build_folder, modality_of, pair_files, read_pairs
from tests.core.test_archives import write_tar


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


def draw_pictures(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        draw_picture(folder / name, 20 * number + 1)


def build(source: Path, out: Path, **options) -> tuple[list[str], dict[str, int]]:
    """Return the captions of all samples, sorted, and what was dropped."""
    build_folder(source, out, 0.3, "mine alone", **options)
    readers = [ShardReader(out / split) for split in ("train", "val")]
    texts = [r.read(i)["txt"].decode() for r in readers for i in range(len(r))]
    return sorted(texts), Manifest.load(out / "train").dropped


def fetched(folder: Path) -> Path:
    """A tar file as img2dataset writes it, of eight pictures of which one lacks its text."""
    draw_pictures(folder, *(f"{n:09d}.jpg" for n in range(8)))
    members = {path.name: path.read_bytes() for path in folder.iterdir()}
    for number in range(8):
        told = {"url": "x", "caption": f"caption {number}", "status": "success"}
        members[f"{number:09d}.json"] = json.dumps(told).encode()
        if number != 3:
            members[f"{number:09d}.txt"] = f"caption {number}".encode()
    (folder.parent / "shards").mkdir()
    return write_tar(folder.parent / "shards" / "00000.tar", dict(sorted(members.items())))


def test_the_samples_of_a_webdataset_tar_are_pairs(tmp_path: Path):
    shards = fetched(tmp_path / "files").parent
    texts, dropped = build(shards, tmp_path / "out")
    assert texts == [f"caption {n}" for n in range(8) if n != 3]
    assert dropped == {"no partner": 1}


def test_pictures_beside_metadata_are_pairs(tmp_path: Path):
    source = tmp_path / "pictures"
    draw_pictures(source, *(f"{n:04d}.png" for n in range(6)))
    rows = [{"file_name": f"{n:04d}.png", "text": f"picture number {n}"} for n in range(6)]
    (source / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts, dropped = build(source, tmp_path / "out")
    assert texts == [row["text"] for row in rows]
    assert not dropped


def test_rows_of_parquet_are_pairs(tmp_path: Path):
    draw_pictures(tmp_path / "files", *(f"{n}.png" for n in range(8)))
    pictures = [{"bytes": (tmp_path / "files" / f"{n}.png").read_bytes(), "path": f"{n}.png"}
                for n in range(8)]  # fmt: skip
    table = pa.table({"image": pictures, "text": [f"text {n}" for n in range(8)]})
    (tmp_path / "table").mkdir()
    pq.write_table(table, tmp_path / "table" / "train-00000-of-00001.parquet", row_group_size=3)
    texts, dropped = build(tmp_path / "table", tmp_path / "out")
    assert texts == [f"text {n}" for n in range(8)]
    assert not dropped


def test_files_are_paired_however_their_names_write_an_accent_or_a_suffix(tmp_path: Path):
    source = tmp_path / "mine"
    draw_pictures(source, "cafe\u0301.png", "v1.5.PNG", "img 1.jfif.png", "two.png")
    for name in ("caf\u00e9.txt", "v1.5.TXT", "img 1.jfif.txt", "two.Txt"):
        (source / name).write_text(name)
    texts, dropped = build(source, tmp_path / "out")
    assert len(texts) == 4
    assert not dropped


def test_pairs_behind_links_are_taken(files: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(files)
    assert build(tmp_path / "in", tmp_path / "out")[0] == ["a one", "a six", "a two"]


def test_captions_of_img2datasets_files_stand_in_json(tmp_path: Path):
    source = tmp_path / "files"
    draw_pictures(source, "0.jpg", "1.jpg")
    for number in range(2):
        (source / f"{number}.json").write_text(json.dumps({"caption": f"told {number}"}))
    texts, dropped = build(source, tmp_path / "out")
    assert texts == ["told 0", "told 1"]
    assert not dropped


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    source = tmp_path / "captioned"
    draw_pictures(source, "a.png", "b.png", "c.png")
    (source / "a.txt").write_text("first\nsecond\n")
    rows = [{"file_name": "b.png", "text": ["one", "two"]}, {"file_name": "c.png", "text": "alone"}]
    (source / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return source


def test_of_several_captions_one_is_taken_and_that_is_told(captioned: Path, tmp_path: Path):
    texts, _ = build(captioned, tmp_path / "out")
    assert texts == ["alone", "first second", "one"]
    told = Manifest.load(tmp_path / "out" / "train").card["changed"]
    assert told == {"further captions left out": 1, "lines of a caption joined": 1}


def test_each_caption_is_a_sample_in_the_split_of_its_picture(captioned: Path, tmp_path: Path):
    texts, _ = build(captioned, tmp_path / "out", captions="each")
    assert texts == ["alone", "first", "one", "second", "two"]
    split = {text: part for part in ("train", "val") for text in _texts(tmp_path / "out" / part)}
    assert split["first"] == split["second"]
    assert split["one"] == split["two"]


def _texts(folder: Path) -> list[str]:
    reader = ShardReader(folder)
    return [reader.read(index)["txt"].decode() for index in range(len(reader))]


def test_sizes_are_options_and_stand_in_the_manifest(files: Path, tmp_path: Path):
    signals = Signals(size=16, rate=16_000, seconds=0.7, frames=3)
    build_folder(files, tmp_path / "out", 0.3, "mine alone", signals=signals)
    samples = read_all(tmp_path / "out")
    assert decode_png(samples["a one"]["png"]).shape == (3, 16, 16)
    assert decode_flac(samples["a one"]["flac"], 16_000).shape == (11_200,)
    assert decode_clip(samples["a two"]["video.npy"]).shape == (3, 3, 16, 16)
    fields = {"size": 16, "rate": 16_000, "seconds": 0.7, "frames": 3}
    assert Manifest.load(tmp_path / "out" / "train").fields == fields


def test_strict_leaves_nothing_where_more_than_a_tenth_lacks_a_partner(files, tmp_path: Path):
    draw_picture(files / "alone.png", 9)
    with pytest.raises(ValueError, match=r"1 no partner \(name them like"):
        build_folder(files, tmp_path / "out", 0.3, "mine alone", strict=True)
    assert not (tmp_path / "out").exists()


def test_two_workers_read_containers_as_one_does(tmp_path: Path):
    shards = fetched(tmp_path / "files").parent
    for name, engine in [("one", Local(1)), ("two", Local(2))]:
        build_folder(shards, tmp_path / name, 0.3, "mine alone", engine)
    manifests = [Manifest.load(tmp_path / name / "train") for name in ("one", "two")]
    assert manifests[0] == manifests[1]


def test_what_is_cut_enlarged_or_resampled_is_told_by_modality(tmp_path: Path):
    source, rng = tmp_path / "mine", np.random.default_rng(0)
    source.mkdir()
    photograph = Image.fromarray(rng.integers(0, 255, (40, 90, 3), np.uint8))
    sheet = Image.new("RGB", (90, 40), "white")
    sheet.paste((0, 0, 200), (60, 10, 70, 30))
    for name, picture in {
        "one": photograph,
        "two": sheet,
        "tiny": photograph.resize((20, 20)),
    }.items():
        picture.save(source / f"{name}.png")
        (source / f"{name}.txt").write_text(f"a {name}")
    record(source / "one.wav", 200)
    frames = [photograph.rotate(turn) for turn in range(0, 60, 10)]
    frames[0].save(source / "two.gif", save_all=True, append_images=frames[1:])
    build_folder(source, tmp_path / "out", 0.3, "mine alone", signals=Signals(seconds=0.2))
    assert Manifest.load(tmp_path / "out" / "train").card["changed"] == {
        "pictures cut to a square": 1,  # the drawing is found wherever it stands
        "pictures enlarged": 1,
        "sounds resampled": 1,
        "sounds cut": 1,
        "clips cut to a square": 1,
        "clips of more frames": 1,
    }
