"""The user's clips: MP4, MOV, WebM, MKV, AVI, GIF, animated WebP and PNG in, MP4 and WebP out."""

import io
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from core.canvas import Fit, to_square
from core.files import existing_file, new_file
from core.pictures import to_pillow
from video import animations, films
from video.frames import DETAIL, FRAMES, evenly

__all__ = [
    "DETAIL",
    "FRAMES",
    "SUFFIXES",
    "evenly",
    "read_frames",
    "read_video",
    "weigh_video",
    "write_animation",
    "write_video",
]
FILMS = frozenset({".mp4", ".m4v", ".mov", ".qt", ".3gp", ".webm", ".mkv", ".avi"})
SUFFIXES = FILMS | {".gif", ".webp", ".apng"}
"""Of files that a builder takes for clips; what is read is told by content."""

_EXACT = {"flags": "+bitexact"}


def read_video(
    path: str | Path, size: int = 32, frames: int = 4, fit: Fit = "auto"
) -> Float[Tensor, "F 3 H W"]:
    """Read a clip as `frames` square frames of `size` pixels in [-1, 1], picked evenly in time.

    The first and the last that are shown are always among them; a clip with fewer frames repeats
    some. They are upright, of square pixels and on white, and all are cut out alike, as
    `core.canvas` describes.
    """
    return to_square(read_frames(path, frames)[0], size, fit)


def read_frames(path: str | Path, frames: int) -> tuple[Float[Tensor, "F 3 H W"], int]:
    """Read `frames` whole frames, reduced where they are large, and tell how many the clip has."""
    path = existing_file(path)
    read = animations.read_animation if animations.is_animation(path) else films.read_film
    pictures, count = read(path, frames)
    return torch.stack(pictures), count


def weigh_video(path: str | Path) -> int:
    """Return how many pixels all frames of a clip have, counted without decoding them."""
    path = existing_file(path)
    return (animations if animations.is_animation(path) else films).weigh(path)


def write_video(
    path: str | Path, video: Float[Tensor, "F 3 H W"], fps: int = 4, upscale: int = 8
) -> None:
    """Write a clip in [-1, 1] as MP4 (H.264), each pixel repeated `upscale` times a side.

    One thread and no dates, so that the same clip gives the same bytes. The format halves the
    resolution of colour, which an even `upscale` makes good.
    """
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", **_EXACT})
        stream.thread_count = 1
        stream.height, stream.width = (side * upscale for side in video.shape[-2:])
        stream.pix_fmt = "yuv420p"
        for frame in video:
            picture = av.VideoFrame.from_image(to_pillow(frame, upscale))
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with new_file(path) as partial:
        partial.write_bytes(buffer.getvalue())


def write_animation(
    path: str | Path, video: Float[Tensor, "F 3 H W"], fps: int = 4, upscale: int = 4
) -> None:
    """Write a clip in [-1, 1] as an endless lossless WebP, which a browser shows as a picture."""
    first, *rest = [to_pillow(frame, upscale) for frame in video]
    with new_file(path) as partial:
        first.save(
            partial,
            "WEBP",
            save_all=True,
            append_images=rest,
            loop=0,
            duration=round(1000 / fps),
            lossless=True,
        )
