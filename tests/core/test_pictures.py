"""Pictures whose metadata is odd or broken, written byte by byte where Pillow would not."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from core.errors import UserError
from core.pictures import from_pillow, opened

FORMATS = ("PNG", "JPEG", "WEBP")


def read(path: Path) -> Tensor:
    with opened(path, FORMATS) as image:
        return from_pillow(image)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows: np.ndarray, depth: int, colour: int, *before: bytes, after: bytes = b"") -> bytes:
    """Return a PNG of packed rows of bytes, with chunks before or behind its data."""
    height = len(rows)
    width = rows.shape[1] * 8 // depth // {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [chunk(b"IHDR", head), *before, chunk(b"IDAT", data), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Return EXIF of entries (tag, type, count, four bytes of value)."""
    body = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + body + bytes(4)


def orientation(value: int) -> tuple[int, int, int, bytes]:
    return (0x0112, 3, 1, struct.pack(">H", value))


def jpeg(image: Image.Image, data: bytes) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, exif=b"Exif\0\0" + data)
    return stream.getvalue()


def upper_half_black(width: int = 48, height: int = 32) -> Image.Image:
    image = Image.new("L", (width, height), "white")
    image.paste(0, (0, 0, width, height // 2))
    return image


RIGHT, LEFT, TOP, BOTTOM = "right", "left", "top", "bottom"


def dark_side(image: Tensor) -> str:
    grey = image.mean(0)
    height, width = grey.shape
    means = {
        TOP: grey[: height // 2].mean(), BOTTOM: grey[-(height // 2) :].mean(),
        LEFT: grey[:, : width // 2].mean(), RIGHT: grey[:, -(width // 2) :].mean(),
    }  # fmt: skip
    return min(means, key=lambda side: float(means[side]))


ODD_ENTRIES = {
    "resolution as text": (0x011A, 2, 4, b"72\0\0"),
    "resolution as one byte": (0x011A, 1, 1, b"\x48"),
    "width as a fraction without a place": (0x0100, 5, 1, b"\xff\xff\xff\xff"),
    "unknown type": (0x0131, 99, 1, b"abcd"),
    "very many values": (0x0132, 12, 2**31, b"\0\0\0\x08"),
    "folder that is itself": (0x8769, 4, 1, b"\0\0\0\x08"),
    "date as a number": (0x0132, 4, 1, b"\0\0\0\x01"),
}


@pytest.mark.parametrize("entry", ODD_ENTRIES.values(), ids=ODD_ENTRIES)
def test_an_odd_exif_entry_hinders_no_picture_from_being_turned(tmp_path: Path, entry):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(upper_half_black(), exif(entry, orientation(6))))
    image = read(path)
    assert image.shape == (3, 48, 32)
    assert dark_side(image) == RIGHT


@pytest.mark.parametrize(
    "data",
    [
        b"", b"MM", b"MM\0*", b"II*\0\xff\xff\xff\xff", b"no TIFF at all", bytes(40),
        exif(orientation(0)), exif(orientation(9)), exif((0x0112, 2, 2, b"6\0")),
        exif((0x0112, 5, 1, b"\0\0\0\x08")), exif(orientation(6))[:-9],
    ],
)  # fmt: skip
def test_exif_that_cannot_be_read_is_none(tmp_path: Path, data: bytes):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(upper_half_black(), data))
    assert read(path).shape[0] == 3


@pytest.mark.parametrize(
    ("value", "side"),
    [(1, TOP), (2, TOP), (3, BOTTOM), (4, BOTTOM), (5, LEFT), (6, RIGHT), (7, RIGHT), (8, LEFT)],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_each_orientation_is_undone_in_every_format(tmp_path, suffix, value, side):
    path = tmp_path / f"a.{suffix}"
    upper_half_black().convert("RGB").save(path, exif=b"Exif\0\0" + exif(orientation(value)))
    assert dark_side(read(path)) == side


def test_exif_behind_the_data_of_a_png_counts(tmp_path: Path):
    rows = np.asarray(upper_half_black())
    path = tmp_path / "a.png"
    path.write_bytes(png(rows, 8, 0, after=chunk(b"eXIf", exif(orientation(3)))))
    assert dark_side(read(path)) == BOTTOM


def test_sixteen_bits_are_turned_like_eight(tmp_path: Path):
    rows = np.asarray(upper_half_black()).astype(">u2") * 257
    path = tmp_path / "a.png"
    path.write_bytes(png(rows.view(np.uint8), 16, 0, chunk(b"eXIf", exif(orientation(3)))))
    assert dark_side(read(path)) == BOTTOM


TRANSPARENT = {
    # depth, colour type, level that is transparent, a level that is not
    "1 bit": (1, 0, 0, None),
    "2 bits": (2, 0, 1, None),
    "4 bits": (4, 0, 5, None),
    "8 bits": (8, 0, 60, 61),
    "16 bits": (16, 0, 1000, 1001),
    "8 bits of colour": (8, 2, 60, 61),
    "16 bits of colour": (16, 2, 1000, 9000),
}


@pytest.mark.parametrize(
    ("depth", "colour", "hole", "other"), TRANSPARENT.values(), ids=TRANSPARENT
)
def test_a_transparent_colour_of_any_depth_is_white(tmp_path, depth, colour, hole, other):
    channels = 3 if colour == 2 else 1
    levels = np.full((16, 16 * channels), hole)
    if other is not None:
        levels[8:] = other
    kind = ">u2" if depth == 16 else np.uint8
    packed = levels.astype(kind).view(np.uint8)
    if depth < 8:
        bits = [np.repeat((hole >> b) & 1, levels.size) for b in range(depth - 1, -1, -1)]
        packed = np.packbits(np.stack(bits, -1).reshape(16, -1), axis=1)
    path = tmp_path / "a.png"
    path.write_bytes(png(packed, depth, colour, chunk(b"tRNS", struct.pack(">H", hole) * channels)))
    image = read(path)
    assert (image[:, :8] == 1).all()
    if other is not None:
        assert (image[:, 8:] < -0.5).all()


def test_a_palette_with_half_transparent_colours_lies_on_white(tmp_path: Path):
    palette = chunk(b"PLTE", bytes([0, 0, 0, 255, 0, 0]))
    rows = np.zeros((16, 16), np.uint8)
    rows[8:] = 1
    path = tmp_path / "a.png"
    path.write_bytes(png(rows, 8, 3, palette, chunk(b"tRNS", bytes([0, 128]))))
    image = (read(path) + 1) * 127.5
    assert (image[:, :8] == 255).all()
    torch.testing.assert_close(image[:, 12, 3], torch.tensor([255.0, 127, 127]), atol=1, rtol=0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"])
def test_white_is_white_in_every_mode(mode: str):
    white = Image.new("RGB", (16, 16), "white").convert("L" if mode in "IF" else "RGB")
    assert (from_pillow(white.convert(mode)) > 0.99).all()


@pytest.mark.parametrize(
    ("levels", "grey"),
    [
        (np.full((16, 16), 32768, np.uint16), 0.0),
        (np.full((16, 16), 32768, np.int32), 0.0),
        (np.full((16, 16), 0.5, np.float32), 0.0),
        (np.full((16, 16), 127.5, np.float32), 0.0),
        (np.full((16, 16), -3.0, np.float32), -1.0),
        (np.full((16, 16), np.nan, np.float32), -1.0),
    ],
)
def test_wider_levels_keep_their_brightness(levels: np.ndarray, grey: float):
    assert from_pillow(Image.fromarray(levels)).mean() == pytest.approx(grey, abs=0.01)


def test_a_jpeg_of_printing_colours_is_read(tmp_path: Path):
    Image.new("RGB", (32, 32), "red").convert("CMYK").save(tmp_path / "a.jpg")
    red, green, blue = read(tmp_path / "a.jpg").mean((1, 2))
    assert red > 0.9
    assert max(green, blue) < -0.9


def test_the_first_picture_of_several_is_taken(tmp_path: Path):
    pictures = [Image.new("RGB", (32, 32), colour) for colour in ("white", "black")]
    for name, kind in (("a.jpg", "MPO"), ("a.png", "PNG"), ("a.webp", "WEBP")):
        pictures[0].save(tmp_path / name, kind, save_all=True, append_images=pictures[1:])
        assert (read(tmp_path / name) > 0.98).all(), name


def profile_that_swaps_red_and_blue() -> bytes:
    """Return sRGB's profile with the names of two of its primaries exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = data.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    return swapped.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))


def test_colours_are_those_of_the_profile(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 16), (255, 0, 0)).save(
        path, icc_profile=profile_that_swaps_red_and_blue()
    )
    red, _, blue = read(path).mean((1, 2))
    assert (red, blue) == (pytest.approx(-1, abs=0.02), pytest.approx(1, abs=0.02))


@pytest.mark.parametrize("profile", [b"no profile", bytes(200)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_profile_that_does_not_fit_is_none(tmp_path: Path, profile: bytes, mode: str):
    Image.new(mode, (16, 16), "white").save(tmp_path / "a.png", icc_profile=profile)
    assert (read(tmp_path / "a.png") == 1).all()


def test_a_grey_picture_with_a_profile_of_colours_is_read(tmp_path: Path):
    profile = profile_that_swaps_red_and_blue()
    Image.new("L", (16, 16), "white").save(tmp_path / "a.png", icc_profile=profile)
    assert (read(tmp_path / "a.png") == 1).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_changed_byte_is_read_or_is_one_line(tmp_path: Path, suffix: str):
    draw = np.random.default_rng(0)
    stream = io.BytesIO()
    data = b"Exif\0\0" + exif(*ODD_ENTRIES.values(), orientation(6))
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix]
    profile = profile_that_swaps_red_and_blue()
    upper_half_black().convert("RGB").save(stream, kind, exif=data, icc_profile=profile)
    whole = stream.getvalue()
    path = tmp_path / f"a.{suffix}"
    for _ in range(100):
        changed = bytearray(whole)
        for place in draw.integers(0, len(whole), draw.integers(1, 8)):
            changed[place] = draw.integers(256)
        path.write_bytes(changed)
        told = refusal(path)
        assert told is None or (told.startswith(str(path)) and "\n" not in told)


def refusal(path: Path) -> str | None:
    try:
        read(path)
    except UserError as error:
        return str(error)
    return None
