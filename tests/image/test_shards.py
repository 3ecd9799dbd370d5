import subprocess
import sys

import pytest
import torch
from PIL import Image

from core.manifest import Manifest
from image.data import ImageData
from image.shards import shards


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    colours = ("red", "lime", "blue", "white", "black", "yellow")
    kinds = ("png", "jpg", "webp", "png", "jpeg", "webp")
    for i, (colour, kind) in enumerate(zip(colours, kinds, strict=True)):
        Image.new("RGB", (40 + 30 * i, 64), colour).save(folder / "below" / f"{i}.{kind}")
    Image.new("RGB", (99, 99), "white").save(folder / "copy.png")
    Image.new("RGB", (8, 99), "green").save(folder / "narrow.png")
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_of_pictures_becomes_two_splits_and_the_rest_is_counted(source, tmp_path):
    shards(source, tmp_path / "out", size=16, val_fraction=0.3)
    splits = [Manifest.load(tmp_path / "out" / split) for split in ("train", "val")]
    assert sum(manifest.samples for manifest in splits) == 6
    counts = {"duplicate": 1, "too small": 1, "undecodable": 1, "other kind of file": 1}
    assert splits[0].dropped == counts


def test_image_data_gives_the_pictures_in_full_range(source, tmp_path):
    shards(source, tmp_path / "out", size=16)
    batch = next(iter(ImageData(str(tmp_path / "out"), batch_size=4).train_dataloader()))
    assert batch["image"].shape == (4, 3, 16, 16)
    assert torch.all((batch["image"].abs() - 1).abs() < 0.05)  # pure colours, lossy formats


def test_the_same_folder_gives_the_same_dataset(source, tmp_path):
    for out in ("a", "b"):
        shards(source, tmp_path / out)
    first, second = (Manifest.load(tmp_path / out / "train") for out in ("a", "b"))
    assert first == second


def test_a_folder_without_usable_pictures_leaves_nothing(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "broken.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ValueError, match=r"no usable samples \(dropped: 1 undecodable"):
        shards(tmp_path / "pictures", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_the_last_line_says_what_was_cut_enlarged_and_dropped(source, tmp_path, capsys):
    shards(source, tmp_path / "out", size=128)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"{tmp_path / 'out'}: 6 samples of 9 inputs; dropped 3: 1 duplicate (equal samples are "
        "written once), 1 too small (a lower --min_side keeps them), 1 undecodable (open one of "
        "them to see why, then save or convert it again); changed: 7 enlarged (a lower --size "
        "keeps their pixels, a higher --min_side drops them), 5 cut to the square in its middle "
        "(crop or pad them to squares before)"
    )


def test_strict_is_an_error_and_leaves_nothing(source, tmp_path):
    words = [sys.executable, "-m", "image.shards", "--source", str(source), "--out", "out"]
    done = subprocess.run(
        [*words, "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: out is not written, as --strict allows")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
