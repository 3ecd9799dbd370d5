from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from video.files import evenly, read_video, write_animation, write_video


def moving_square(frames: int = 4) -> torch.Tensor:
    video = torch.ones(frames, 3, 32, 32)
    for number, frame in enumerate(video):
        left = 2 + round(16 * number / max(1, frames - 1))
        frame[:, 8:24, left : left + 10] = torch.tensor([-0.8, 0.2, 0.6])[:, None, None]
    return video


def test_a_written_clip_reads_back_close_to_what_it_was(tmp_path: Path):
    video = moving_square()
    write_video(tmp_path / "a.mp4", video)
    read = read_video(tmp_path / "a.mp4")
    assert read.shape == video.shape
    assert (read - video).abs().mean() < 0.03


def test_a_written_animation_reads_back_as_it_was(tmp_path: Path):
    write_animation(tmp_path / "a.webp", moving_square())
    torch.testing.assert_close(
        read_video(tmp_path / "a.webp"), moving_square(), atol=1 / 255, rtol=0
    )


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, moving_square())
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_gif_gives_frames_from_first_to_last(tmp_path: Path):
    shades = [Image.new("RGB", (40, 40), (level,) * 3) for level in range(0, 250, 25)]
    shades[0].save(tmp_path / "a.gif", save_all=True, append_images=shades[1:])
    read = read_video(tmp_path / "a.gif").mean((1, 2, 3))
    expected = torch.tensor([0.0, 75, 150, 225]) / 127.5 - 1
    torch.testing.assert_close(read, expected, atol=0.02, rtol=0)


def test_webm_is_read(tmp_path: Path):
    with av.open(str(tmp_path / "a.webm"), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width = stream.height = 64
        for level in range(0, 250, 25):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    read = read_video(tmp_path / "a.webm", frames=3).mean((1, 2, 3))
    expected = torch.tensor([0.0, 100, 225]) / 127.5 - 1
    torch.testing.assert_close(read, expected, atol=0.05, rtol=0)


def test_frames_are_picked_evenly_and_a_short_clip_repeats():
    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(4, 4) == [0, 1, 2, 3]
    assert evenly(2, 4) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("none.mp4", "does not exist"),
        ("zero.mp4", "empty"),
        ("note.mp4", "is no clip"),
        ("cut.mp4", "is no clip .* or is damaged"),
        ("sound.mp4", "holds no video"),
        ("still.gif", "holds 1 frames but a clip has 2"),
        ("still.png", "holds 1 frames but a clip has 2"),
        ("tiny.gif", "1x1 pixels"),
        ("cut.gif", "is damaged"),
    ],
)
def test_a_bad_clip_is_one_clear_line(tmp_path: Path, name: str, rule: str):
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "note.mp4").write_text("this is no clip")
    write_video(tmp_path / "whole.mp4", moving_square())
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:1000])
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8_000), np.float32), "fltp", "mono")
        frame.rate = 8_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    Image.new("RGB", (40, 40)).save(tmp_path / "still.gif")
    Image.new("RGB", (40, 40)).save(tmp_path / "still.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "tiny.gif")
    noise = [Image.effect_noise((64, 64), 90) for _ in range(3)]
    noise[0].save(tmp_path / "whole.gif", save_all=True, append_images=noise[1:])
    (tmp_path / "cut.gif").write_bytes((tmp_path / "whole.gif").read_bytes()[:9000])
    with pytest.raises(ValueError, match=rule) as caught:
        read_video(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("line", ["file upload", "file /etc/passwd"])
def test_a_list_of_other_files_is_no_clip(tmp_path: Path, line: str):
    (tmp_path / "upload").write_text(f"ffconcat version 1.0\n{line}\n" * 2)
    with pytest.raises(ValueError, match="is no clip"):
        read_video(tmp_path / "upload")


def test_frames_too_large_to_hold_seventeen_of_are_refused(tmp_path: Path):
    frames = [Image.new("L", (4000, 4000), shade) for shade in (0, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="4000x4000 pixels but 9,000,000 pixels are the most"):
        read_video(tmp_path / "a.gif")
