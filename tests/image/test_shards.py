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
