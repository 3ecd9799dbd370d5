from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from image.files import read_image, write_image


def test_a_written_picture_reads_back_as_it_was(tmp_path: Path):
    image = torch.rand(3, 32, 32) * 2 - 1
    write_image(tmp_path / "a.png", image)
    assert Image.open(tmp_path / "a.png").size == (256, 256)
    torch.testing.assert_close(read_image(tmp_path / "a.png"), image, atol=1 / 255, rtol=0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_kinds_and_modes_agree(tmp_path: Path, suffix: str, mode: str):
    Image.new("RGB", (40, 40), "white").convert(mode).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.shape == (3, 32, 32)
    assert (image > 0.98).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_white(tmp_path: Path, mode: str):
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).convert(mode).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") > 0.999).all()


def test_sixteen_bits_keep_their_brightness(tmp_path: Path):
    Image.fromarray(np.full((40, 40), 32768, dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").abs().max() < 0.01


def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path):
    upright = Image.new("RGB", (64, 64), "white")
    upright.paste("black", (0, 0, 64, 32))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 8  # shown after a quarter turn to the left
    upright.rotate(-90).save(tmp_path / "a.jpg", exif=exif)
    image = read_image(tmp_path / "a.jpg", fit="plain")
    assert image[:, :14].mean() < -0.9
    assert image[:, 18:].mean() > 0.9


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("1", (20_000, 16)).save(folder / "long.png")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)).save(
        folder / "whole.png"
    )
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:9000])
    (folder / "note.png").write_text("this is no picture")
    (folder / "zero.png").touch()
    Image.new("RGB", (40, 40)).save(folder / "moving.gif")
    return folder


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("none.png", "does not exist"),
        ("zero.png", "empty"),
        ("one.png", "1x1 pixels but a side must have 8 to 12000"),
        ("long.png", "20000x16 pixels"),
        ("bomb.png", "too many pixels"),
        ("cut.png", "is damaged"),
        ("note.png", "is no picture"),
        ("moving.gif", "is no picture of these kinds: PNG, JPEG, WEBP"),
    ],
)
def test_a_bad_picture_is_one_clear_line(bad: Path, name: str, rule: str):
    path = bad / name
    with pytest.raises(ValueError, match=rule) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_large_picture_of_black_and_white_is_read(tmp_path: Path):
    Image.new("1", (2100, 2100), 1).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") > 0.999).all()


def test_a_text_that_unpacks_to_very_much_is_one_clear_line(tmp_path: Path):
    notes = PngInfo()
    notes.add_text("note", "a" * 2_000_000, zip=True)
    Image.new("L", (40, 40)).save(tmp_path / "a.png", pnginfo=notes)
    with pytest.raises(ValueError, match=r"is damaged .* save or copy it again"):
        read_image(tmp_path / "a.png")
