"""Films: MP4, MOV, WebM, Matroska and AVI, decoded by FFmpeg through PyAV."""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from core.errors import UserError
from core.pictures import from_pillow
from video.frames import DETAIL, FRAME, check_count, check_frame, nearest

KINDS = {"format_whitelist": "mov,mp4,matroska,webm,avi", "protocol_whitelist": "file"}
"""What may be opened: other kinds are lists of more files to open, of other hosts' too."""
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "libvpx", "libvpx-vp9", "mpeg4", "mjpeg")
"""Decoders that may run, as FFmpeg names them."""
ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoder -> the one that decodes transparency too."""
ASPECT = 4.0
"""Most that a pixel may be longer on one side; beyond, the header is taken for broken."""
COVERS = ("attached_pic", "timed_thumbnails", "still_image")
"""Streams that are pictures beside a film or a song."""


@dataclass(frozen=True)
class Film:
    """A film that is open, and the stream of its moving picture."""

    path: Path
    container: Any
    stream: Any

    @property
    def decoder(self) -> Any:
        """FFmpeg's decoder."""
        return self.stream.codec_context

    @property
    def pixels(self) -> int:
        """Pixels of a frame, as the header says."""
        return self.decoder.width * self.decoder.height


def weigh(path: Path) -> int:
    """Return how many pixels all frames have, counted without decoding them."""
    with opened_film(path) as film:
        return film.pixels * sum(packet.size > 0 for packet in film.container.demux(film.stream))


def read_film(path: Path, frames: int) -> tuple[list[Float[Tensor, "3 H W"]], int]:
    """Return so many frames, evenly in time from the first to the last, and how many there are."""
    with opened_film(path) as film:
        planned = _packet_times(film)
    check_count(path, len(planned))
    wanted = nearest(planned, frames)
    found, times = _decode(path, wanted)
    if not times:
        raise UserError(f"{path} holds no frame that can be shown; save or copy it again")
    # Packets are not frames: some hold half a picture, some nothing to show, some are damaged.
    if (true := nearest(times, frames)) != wanted:
        check_count(path, len(times))
        found, _ = _decode(path, true)
        wanted = true
    return [found[time] for time in wanted], len(times)


@contextmanager
def opened_film(path: Path) -> Iterator[Film]:
    """Open a film that holds frames of a size that can be decoded."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path), options=KINDS) as container:
            film = Film(path, container, _moving_picture(path, container))
            if film.decoder is None or film.decoder.name not in CODECS:
                name = getattr(film.decoder, "name", "something unknown")
                raise UserError(f"{path} is coded as {name}; save it as MP4 (H.264)")
            check_frame(path, (film.decoder.width, film.decoder.height))
            film.decoder.options = {"max_pixels": str(2 * FRAME)}  # sizes may change on the way
            yield film
    except FFmpegError as error:
        raise UserError(
            f"{path} is no clip (MP4, MOV, WebM, MKV, GIF or WebP) or is damaged "
            f"({error.strerror}); save or copy it again"
        ) from None


def _moving_picture(path: Path, container: Any) -> Any:
    """Return the first stream of frames that is no cover."""
    from av.stream import Disposition

    covers = Disposition(0)
    for name in COVERS:
        covers |= Disposition[name]
    for stream in container.streams.video:
        if not stream.disposition & covers:
            return stream
    also = " but a cover" if container.streams.video else ""
    raise UserError(f"{path} holds no video{also}; name a clip (MP4, MOV, WebM, GIF or WebP)")


def _packet_times(film: Film) -> list[int]:
    """Return when frames are to be shown, in the stream's unit, sorted, but for hidden ones.

    An edit list hides those that were trimmed off without coding anew.
    """
    times = set()
    for number, packet in enumerate(film.container.demux(film.stream)):
        if packet.size > 0 and not packet.is_discard:
            times.add(next(t for t in (packet.pts, packet.dts, number) if t is not None))
    return sorted(times)


def _decode(path: Path, wanted: list[int]) -> tuple[dict[int, Float[Tensor, "3 H W"]], list[int]]:
    """Return the frames of the wanted times, and the times of all frames up to the last of them."""
    found, times = {}, []
    with opened_film(path) as film:
        for frame in _frames(film):
            time = next(t for t in (frame.pts, frame.dts, len(times)) if t is not None)
            times.append(time)
            if time in wanted and time not in found:
                found[time] = _picture(frame, film.stream.sample_aspect_ratio)
            if time == wanted[-1]:
                break
    return found, sorted(set(times))


def _frames(film: Film) -> Iterator[Any]:
    """Yield decoded frames while they are as large as the header says."""
    decoded = film.container.decode(film.stream)
    if film.stream.metadata.get("alpha_mode") == "1" and film.decoder.name in ALPHA:
        decoded = _with_alpha(film, ALPHA[film.decoder.name])
    for frame in decoded:
        if frame.width * frame.height > film.pixels:
            raise UserError(
                f"{film.path} has a frame of {frame.width}x{frame.height} pixels, larger than its "
                "header says; save it again"
            )
        yield frame


def _with_alpha(film: Film, name: str) -> Iterator[Any]:
    import av

    decoder: Any = av.CodecContext.create(name, "r")
    decoder.options = film.decoder.options
    for packet in film.container.demux(film.stream):
        yield from decoder.decode(packet if packet.size else None)


def _picture(frame: Any, aspect: Any) -> Float[Tensor, "3 H W"]:
    """Return a frame as it is seen: of square pixels, upright, on white."""
    alpha = len(frame.format.components) in (2, 4)
    image = Image.fromarray(frame.to_ndarray(format="rgba")) if alpha else frame.to_image()
    return from_pillow(_upright(_square_pixels(image, float(aspect or 1)), frame), DETAIL)


def _square_pixels(image: Image.Image, aspect: float) -> Image.Image:
    """Return a frame whose pixels are `aspect` times as wide as high with square ones."""
    if aspect == 1 or not 1 / ASPECT <= aspect <= ASPECT:
        return image
    image = image.reduce(max(1, min(image.size) // DETAIL))
    wide, high = image.size
    size = (round(wide * aspect), high) if aspect > 1 else (wide, round(high / aspect))
    return image.resize(size, Image.Resampling.BILINEAR)


def _upright(image: Image.Image, frame: Any) -> Image.Image:
    """Turn and mirror a frame as the display matrix says, in which phones note how they were held.

    PyAV's `rotation` is of the matrix without its mirroring, which front cameras note there.
    """
    sides = [side for side in frame.side_data if side.type.name == "DISPLAYMATRIX"]
    if not sides:
        return image
    a, b, _, c, d = struct.unpack_from("=5i", bytes(sides[0]))
    if a * d < b * c:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        a, b = -a, -b
    return image.rotate(round(math.degrees(-math.atan2(b, a))), expand=True)
