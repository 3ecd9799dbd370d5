"""Sounds in files, decoded by libsndfile, and by FFmpeg where that does not know them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Float32
from torch import Tensor

from core.errors import UserError

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "MPEG", "AIFF", "CAF")
"""As libsndfile names them; its other decoders are not for the files of strangers."""
KINDS = {
    "format_whitelist": "mov,mp4,matroska,webm,aac,ogg,flac,mp3,wav,w64,aiff,caf",
    "protocol_whitelist": "file",
}
"""What FFmpeg may open: other kinds are lists of more files to open, of other hosts' too."""
CODECS = ("aac", "alac", "mp3", "mp3float", "opus", "libopus", "vorbis", "flac", "amrnb", "amrwb")
"""Decoders that FFmpeg may run, and those of uncompressed samples (pcm)."""
COMPRESSION = 100
"""Most samples of a byte, of which a file of unknown length is believed to hold as many."""
BLOCK = 0.05
"""Seconds over which it is told whether channels cancel each other."""
CANCELLED = 0.1
"""Power of the channels' mean, over that of unrelated ones, below which they cancel: -10 dB."""
TOLERATED = 0.01
"""Share of the power that may cancel."""


@dataclass(frozen=True)
class Sound:
    """A recording that is open."""

    rate: int
    """Samples per second."""
    channels: int
    length: int
    """Samples of a channel, as the header says or as is guessed."""
    read: Callable[[int], Iterator[Float32[np.ndarray, "S C"]]]
    """Yields at least so many samples at a time, but for the last."""


@contextmanager
def opened_sound(path: Path) -> Iterator[Sound]:
    """Open a recording; whatever is wrong with it is one clear line."""
    import soundfile

    known = False
    try:
        with soundfile.SoundFile(path) as file:
            known = True
            if file.format not in FORMATS:
                raise _not_a_recording(path, file.format)
            if 0 < file.frames < 2**62:
                length = file.frames
                yield Sound(file.samplerate, file.channels, length, lambda n: _blocks(file, n))
                return
    except soundfile.LibsndfileError as error:
        if known:  # the recording itself is damaged
            raise _not_a_recording(path, error.error_string) from None
        told = error.error_string
    else:
        told = "it holds no samples"  # or its header does not know: a recorder that died
    with _opened_by_ffmpeg(path, told) as sound:
        yield sound


def mono(data: Float32[np.ndarray, "S C"], rate: int) -> tuple[Float[Tensor, "S"], bool]:
    """Return the mean of the channels, or what is heard where they cancel, and whether they do.

    One microphone of two that is wired the other way round makes a mean of nothing. Then the
    channels are turned to the phase of the loudest; or the loudest stands for all, where they
    cancel in parts of the recording only.
    """
    mean = data.mean(1)
    channels = data.shape[1]
    if channels == 1 or not np.isfinite(mean).all():
        return torch.from_numpy(np.ascontiguousarray(mean)), False
    apart = _power(data, rate).sum(1) / channels**2
    lost = _lost(mean, apart, rate)
    if lost <= TOLERATED:
        return torch.from_numpy(np.ascontiguousarray(mean)), False
    order = np.argsort(-np.square(data).sum(0), kind="stable")
    signs = np.where(data[:, order[0]] @ data < 0, -1, 1).astype(np.float32)
    ways = [mean, (data * signs).mean(1), *(data[:, channel] for channel in order)]
    best = min(ways, key=lambda way: _lost(way, apart, rate))
    return torch.from_numpy(np.ascontiguousarray(best)), best is not mean


def _power(data: Float32[np.ndarray, "S C"], rate: int) -> Float32[np.ndarray, "N C"]:
    """Return the power of each block and channel."""
    step = max(1, round(rate * BLOCK))
    starts = np.arange(0, len(data), step)
    return np.add.reduceat(np.square(data), starts, axis=0)


def _lost(wave: Float32[np.ndarray, "S"], apart: Float32[np.ndarray, "N"], rate: int) -> float:
    """Return the share of the power that lies in blocks where next to nothing of it is heard."""
    heard = _power(wave[:, None], rate)[:, 0]
    return float(apart[heard < CANCELLED * apart].sum() / max(apart.sum(), 1e-30))


def _blocks(file: Any, least: int) -> Iterator[Float32[np.ndarray, "S C"]]:
    while len(data := file.read(least, dtype="float32", always_2d=True)):
        yield data


@contextmanager
def _opened_by_ffmpeg(path: Path, told: str) -> Iterator[Sound]:
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path), options=KINDS) as container:
            if not container.streams.audio:
                raise UserError(f"{path} holds no sound; name a recording (WAV, FLAC, OGG or MP3)")
            stream = container.streams.audio[0]
            name = getattr(stream.codec_context, "name", "something unknown")
            if name not in CODECS and not name.startswith("pcm_"):
                raise UserError(f"{path} is coded as {name}; save it as WAV")
            frames = container.decode(stream)
            first = next(frames, None)
            if first is None:
                yield Sound(stream.rate, 1, 0, lambda _: iter(()))
                return
            # The header of AAC may not tell that there are twice as many channels or samples.
            rate, channels = first.sample_rate, first.layout.nb_channels
            length = round(rate * _seconds(path, container, stream))
            parts = _floats(chain([first], frames), first.layout, rate)
            yield Sound(rate, channels, length, lambda least: _joined(parts, least))
    except FFmpegError:
        raise _not_a_recording(path, told) from None


def _seconds(path: Path, container: Any, stream: Any) -> float:
    """Return the length as the header says, or more than it can be."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / 1e6
    return COMPRESSION * path.stat().st_size / stream.codec_context.sample_rate


def _floats(frames: Iterable[Any], layout: Any, rate: int) -> Iterator[Float32[np.ndarray, "S C"]]:
    import av

    floats = av.AudioResampler("fltp", layout, rate)
    for frame in chain(frames, [None]):  # None asks for what is held
        if frame is not None:
            frame.pts = None  # or gaps of damaged time stamps would be filled
        for converted in floats.resample(frame):
            yield rearrange(converted.to_ndarray(), "C S -> S C")


def _joined(
    parts: Iterator[Float32[np.ndarray, "S C"]], least: int
) -> Iterator[Float32[np.ndarray, "S C"]]:
    held: list[np.ndarray] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= least:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _not_a_recording(path: Path, told: str) -> UserError:
    return UserError(
        f"{path} is not a WAV, FLAC, OGG, MP3, AIFF or M4A recording, or is damaged ({told}); "
        "save it as WAV and try again"
    )
