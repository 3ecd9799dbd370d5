"""Clips that are not simply so many square frames one after the other."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from PIL import Image

from core.errors import UserError
from video.files import evenly, read_video, weigh_video
from video.frames import nearest, shown


def film(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    turn: tuple[int, bool] | None = None,
    hidden: int = 0,
    pixels: str = "yuv420p",
) -> Path:
    """Write frames at times in tenths of a second.

    Args:
        turn: Degrees to the left and whether it is mirrored, for the display matrix.
        hidden: Frames that an edit list cuts off from the start without coding anew.
    """
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream: Any = container.add_stream(codec, rate=10, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.time_base = stream.codec_context.time_base = Fraction(1, 10)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        packets = []
        for number, pixel in enumerate(frames):
            kind = "rgba" if pixel.shape[-1] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(pixel, kind)
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, 10)
            packets += stream.encode(frame)
        for packet in packets + stream.encode(None):
            step = round(hidden / 10 / packet.time_base)
            packet.pts -= step
            packet.dts -= step
            container.mux(packet)
    return path


def greys(levels: Sequence[int], size: int = 64) -> list[np.ndarray]:
    return [np.full((size, size, 3), level, np.uint8) for level in levels]


def brightness(path: Path, frames: int) -> list[float]:
    clip = read_video(path, frames=frames, fit="plain")
    return ((clip.mean((1, 2, 3)) + 1) * 127.5).tolist()


def near(levels: Sequence[float], by: float = 3) -> object:
    return pytest.approx(levels, abs=by)


@pytest.mark.parametrize("count", range(2, 30))
def test_frames_at_equal_distances_are_picked_by_number(count: int):
    for wanted in (1, 2, 4, 7):
        numbers = evenly(count, wanted)
        assert nearest(range(50, 50 + 3 * count, 3), wanted) == [50 + 3 * n for n in numbers]
        assert shown([40] * count, wanted) == numbers


def test_an_animation_is_taken_by_what_is_shown():
    assert shown([5000, 50, 50, 50], 4) == [0, 0, 0, 3]
    assert shown([50, 5000, 50], 4) == [0, 1, 1, 2]
    assert shown([100, 100, 5000], 4) == [0, 2, 2, 2]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_frames_of_a_film_are_even_in_time(tmp_path: Path, suffix: str):
    times = [*range(20), 120, 220, 320]
    levels = [*range(20, 220, 10), 235, 240, 250]
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    path = film(tmp_path / f"a.{suffix}", greys(levels), times, codec)
    assert brightness(path, 4) == near([20, 235, 240, 250])


@pytest.mark.parametrize("kind", ["gif", "webp", "apng"])
def test_frames_of_an_animation_are_even_in_time(tmp_path: Path, kind: str):
    pictures = [Image.new("RGB", (64, 64), (level,) * 3) for level in (20, 80, 140, 200)]
    options = {"lossless": True} if kind == "webp" else {}
    path = tmp_path / f"a.{kind}"
    pictures[0].save(
        path, "PNG" if kind == "apng" else kind, save_all=True, append_images=pictures[1:],
        duration=[100, 100, 5000, 100], **options,
    )  # fmt: skip
    assert brightness(path, 4) == near([20, 140, 140, 200], 2)
    assert weigh_video(path) == 4 * 64 * 64


def test_durations_that_no_browser_keeps_are_a_tenth_of_a_second(tmp_path: Path):
    pictures = [Image.new("L", (64, 64), level) for level in (0, 80, 160, 240)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:],
                     duration=[0, 10, 100, 100])  # fmt: skip
    assert brightness(tmp_path / "a.gif", 4) == near([0, 80, 160, 240], 2)


def test_a_png_that_moves_leaves_out_the_cover_that_is_no_part_of_it(tmp_path: Path):
    cover, *rest = [Image.new("RGB", (64, 64), (level,) * 3) for level in (255, 0, 100)]
    cover.save(tmp_path / "a.png", save_all=True, append_images=rest, default_image=True)
    assert brightness(tmp_path / "a.png", 2) == near([0, 100], 1)


def test_transparent_parts_of_an_animation_are_white(tmp_path: Path):
    pictures = [Image.new("RGBA", (64, 64), (0, 0, 0, alpha)) for alpha in (0, 255)]
    for kind in ("webp", "png"):
        path = tmp_path / f"a.{kind}"
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
        assert brightness(path, 2) == near([255, 0], 1), kind


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("reordered", [False, True])
def test_what_an_edit_list_hides_is_not_seen(tmp_path: Path, suffix: str, reordered: bool):
    levels = [round(20 + 200 * number / 59) for number in range(60)]
    options = {"g": "60", "bf": "3" if reordered else "0"}
    path = film(tmp_path / f"a.{suffix}", greys(levels), options=options, hidden=45)
    assert brightness(path, 4) == near([levels[45 + n] for n in (0, 5, 9, 14)])


def circle(wide: int, high: int) -> np.ndarray:
    """Return a black circle on white, drawn on pixels that are `high` / `wide` times as wide."""
    y, x = np.mgrid[0:high, 0:wide]
    side = max(wide, high)
    inside = ((x + 0.5) * side / wide - side / 2) ** 2 + ((y + 0.5) * side / high - side / 2) ** 2
    return np.repeat(np.where(inside < (side / 4) ** 2, 0, 255).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(("wide", "high"), [(64, 128), (128, 64), (96, 128)])
def test_a_circle_of_pixels_that_are_not_square_is_one(tmp_path, suffix, wide, high):
    frames = [circle(wide, high)] * 4
    path = film(tmp_path / f"a.{suffix}", frames, aspect=Fraction(high, wide))
    ink = read_video(path, frames=2, fit="plain")[0].mean(0) < 0
    assert int(ink.any(0).sum()) == pytest.approx(16, abs=1)
    assert int(ink.any(1).sum()) == pytest.approx(16, abs=1)


def test_pixels_of_an_impossible_shape_are_square(tmp_path: Path):
    path = film(tmp_path / "a.mp4", [circle(64, 64)] * 3, aspect=Fraction(200, 1))
    ink = read_video(path, frames=2, fit="plain")[0].mean(0) < 0
    assert int(ink.any(0).sum()) == pytest.approx(16, abs=1)


CORNERS = {(0, 0): "top left", (0, 1): "top right", (1, 0): "bottom left", (1, 1): "bottom right"}


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    ("turn", "corner"),
    [
        ((0, False), "top left"), ((90, False), "bottom left"), ((180, False), "bottom right"),
        ((270, False), "top right"), ((0, True), "top right"), ((180, True), "bottom left"),
        ((90, True), "bottom right"), ((270, True), "top left"),
    ],
)  # fmt: skip
def test_a_clip_is_turned_and_mirrored_as_the_phone_says(tmp_path, suffix, turn, corner):
    frame = np.full((64, 64, 3), 255, np.uint8)
    frame[:32, :32] = 0
    path = film(tmp_path / f"a.{suffix}", [frame] * 3, turn=turn)
    dark = (read_video(path, frames=2, fit="plain")[0].mean(0) < 0).float()
    blocks = torch.nn.functional.avg_pool2d(dark[None], 16)[0]
    assert CORNERS[divmod(int(blocks.argmax()), 2)] == corner


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_transparent_parts_of_a_film_are_white(tmp_path: Path, codec: str):
    frame = np.zeros((64, 64, 4), np.uint8)
    frame[:, 32:, 3] = 255
    options = {"auto-alt-ref": "0"}
    path = film(tmp_path / "a.webm", [frame] * 4, codec=codec, options=options, pixels="yuva420p")
    clip = read_video(path, frames=2, fit="plain")
    assert clip[..., :12].mean() > 0.9
    assert clip[..., -12:].mean() < -0.9


@pytest.mark.parametrize(
    ("codec", "pixels", "size"),
    [("libx265", "yuv420p10le", 64), ("libx264", "yuv444p", 67), ("libvpx-vp9", "yuv420p", 65)],
)
def test_ten_bits_and_odd_sides_are_read(tmp_path: Path, codec: str, pixels: str, size: int):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    frames = greys([30, 130, 230], size)
    path = film(tmp_path / "a.mkv", frames, codec=codec, options=options, pixels=pixels)
    assert brightness(path, 3) == near([30, 130, 230])


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
def test_other_usual_kinds_are_read(tmp_path: Path, suffix: str):
    path = film(tmp_path / f"a.{suffix}", greys([20, 80, 140, 200]), codec="mpeg4")
    assert brightness(path, 4) == near([20, 80, 140, 200], 6)


def with_cover(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Write a clip whose first stream is a picture for its title, in white."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(picture, "JPEG")
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height = cover.width = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = Disposition.attached_pic
        stream: Any = container.add_stream("libx264", rate=10) if frames else None
        packet = av.Packet(picture.getvalue())
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = cover, 0, 0, True
        if stream is not None:
            stream.height = stream.width = 64
            stream.pix_fmt = "yuv420p"
        container.mux(packet)
        for pixel in frames:
            assert stream is not None
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixel, "rgb24")))
        if stream is not None:
            container.mux(stream.encode(None))


def test_a_cover_is_no_frame(tmp_path: Path):
    with_cover(tmp_path / "a.mp4", greys([20, 80, 140]))
    assert brightness(tmp_path / "a.mp4", 3) == near([20, 80, 140])


def test_a_song_with_a_cover_is_no_clip(tmp_path: Path):
    with_cover(tmp_path / "a.mp4", [])
    with pytest.raises(UserError, match="holds no video but a cover"):
        read_video(tmp_path / "a.mp4")


def test_one_frame_that_can_be_seen_is_no_clip(tmp_path: Path):
    path = film(tmp_path / "a.mp4", greys([20, 80, 140]), options={"bf": "0"}, hidden=2)
    with pytest.raises(UserError, match="holds 1 frames"):
        read_video(path)


def test_a_film_that_was_cut_short_gives_what_it_has(tmp_path: Path):
    whole = film(tmp_path / "a.mkv", greys(range(20, 220, 5)), options={"g": "1"})
    data = whole.read_bytes()
    (tmp_path / "b.mkv").write_bytes(data[: len(data) // 2])
    levels = brightness(tmp_path / "b.mkv", 4)
    assert levels[0] == pytest.approx(20, abs=3)
    assert 60 < levels[-1] < 200
    gaps = np.diff(levels)
    assert gaps.min() > 0.7 * gaps.max()
