"""The user's clips: MP4, WebM, GIF and animated WebP in, MP4 and WebP out."""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageSequence
from torch import Tensor

from core.canvas import Fit, to_square
from core.errors import UserError
from core.files import existing_file, new_file
from core.pictures import check_sides, from_pillow, opened, to_pillow

ANIMATIONS = ("GIF", "WEBP")
FRAMES = (2, 20_000)
"""Fewest and most frames of a clip; the most are ten minutes at 33 a second."""
FRAME = 9_000_000
"""Most pixels of a frame, a little above 4096x2160; a decoder may hold seventeen of them."""
KINDS = {"format_whitelist": "mov,mp4,matroska,webm", "protocol_whitelist": "file"}
"""What may be opened: other kinds are lists of more files to open, of other hosts' too."""
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "libvpx", "libvpx-vp9", "mpeg4", "mjpeg")
"""Decoders that may run, as FFmpeg names them."""
DETAIL = 512
"""Shorter side in pixels to which larger frames are first reduced."""

_EXACT = {"flags": "+bitexact"}


def read_video(
    path: str | Path, size: int = 32, frames: int = 4, fit: Fit = "auto"
) -> Float[Tensor, "F 3 H W"]:
    """Read a clip as `frames` square frames of `size` pixels in [-1, 1], picked evenly.

    The first and the last are always among them; a clip with fewer frames repeats some. All are cut
    out alike, as `core.canvas` describes.
    """
    path = existing_file(path)
    read = _read_animation if _is_animation(path) else _read_film
    return to_square(torch.stack(read(path, frames)), size, fit)


def weigh_video(path: str | Path) -> int:
    """Return how many pixels all frames of a clip have, counted without decoding them."""
    path = existing_file(path)
    if _is_animation(path):
        with opened(path, ANIMATIONS) as image:
            _check_frame(path, image.size)
            return image.width * image.height * getattr(image, "n_frames", 1)
    with _film(path) as container:
        shape = container.streams.video[0].codec_context
        return shape.width * shape.height * _count(container)


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


def evenly(count: int, wanted: int) -> list[int]:
    """Return `wanted` frame numbers from the first of `count` to the last."""
    return [round(number) for number in np.linspace(0, count - 1, wanted)]


def _is_animation(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def _read_animation(path: Path, frames: int) -> list[Float[Tensor, "3 H W"]]:
    with opened(path, ANIMATIONS) as image:
        _check_frame(path, image.size)
        count = getattr(image, "n_frames", 1)
        _check_count(path, count)
        return _pick(ImageSequence.Iterator(image), evenly(count, frames), lambda image: image)


def _read_film(path: Path, frames: int) -> list[Float[Tensor, "3 H W"]]:
    """Count the frames, then decode up to the last that is wanted and keep those that are."""
    with _film(path) as container:
        count = _count(container)
        _check_count(path, count)
    with _film(path) as container:
        picked = _pick(_frames(path, container), evenly(count, frames), _upright)
    if not picked:
        raise UserError(f"{path} holds no frame that can be shown; save or copy it again")
    return picked


@contextmanager
def _film(path: Path) -> Iterator[Any]:
    """Open a film that holds frames of a size that can be decoded."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path), options=KINDS) as container:
            if not container.streams.video:
                raise UserError(f"{path} holds no video; name a clip (MP4, WebM, GIF or WebP)")
            decoder = container.streams.video[0].codec_context
            if decoder is None or decoder.name not in CODECS:
                name = getattr(decoder, "name", "something unknown")
                raise UserError(f"{path} is coded as {name}; save it as MP4 (H.264)")
            _check_frame(path, (decoder.width, decoder.height))
            decoder.options = {"max_pixels": str(2 * FRAME)}  # sizes may change on the way
            yield container
    except FFmpegError as error:
        raise UserError(
            f"{path} is no clip (MP4, WebM, GIF or WebP) or is damaged ({error.strerror}); "
            "save or copy it again"
        ) from None


def _frames(path: Path, container: Any) -> Iterator[Any]:
    """Yield decoded frames while they are as large as the header says."""
    shape = container.streams.video[0].codec_context
    announced = shape.width * shape.height
    for frame in container.decode(video=0):
        if frame.width * frame.height > announced:
            raise UserError(
                f"{path} has a frame of {frame.width}x{frame.height} pixels, larger than its "
                "header says; save it again"
            )
        yield frame


def _check_frame(path: Path, size: tuple[int, int]) -> None:
    check_sides(path, size)
    if size[0] * size[1] > FRAME:
        raise UserError(
            f"{path} has frames of {size[0]}x{size[1]} pixels but {FRAME:,} pixels are the most of "
            "a clip; scale it"
        )


def _count(container: Any) -> int:
    return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def _check_count(path: Path, count: int) -> None:
    if not FRAMES[0] <= count <= FRAMES[1]:
        way_out = "cut it shorter" if count > FRAMES[1] else "give a still picture as an image"
        raise UserError(
            f"{path} holds {count} frames but a clip has {FRAMES[0]} to {FRAMES[1]}; {way_out}"
        )


def _pick(
    frames: Iterable[Any], wanted: list[int], shown: Callable[[Any], Image.Image]
) -> list[Float[Tensor, "3 H W"]]:
    """Return the wanted frames as `shown`; where a broken clip has fewer, its last stands in."""
    kept = []
    for number, frame in enumerate(frames):
        if number in wanted:
            kept += [from_pillow(shown(frame), DETAIL)] * wanted.count(number)
        if number == wanted[-1]:
            break
    return kept + kept[-1:] * (len(wanted) - len(kept))


def _upright(frame: Any) -> Image.Image:
    return frame.to_image().rotate(frame.rotation, expand=True)
