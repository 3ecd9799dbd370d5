"""Signals as data URIs, so that a report is one file: PNG, animated WebP, WAV, spectrograms."""

import base64
import io

import numpy as np
import soundfile
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

FLOOR = 60.0  # decibels below the loudest that a spectrogram still shows


def image_uri(image: Float[Tensor, "3 H W"]) -> str:
    """A picture in [-1, 1] as a lossless PNG of its own size; the page enlarges it."""
    return _picture_uri([Image.fromarray(_bytes(image))], "png")


def clip_uri(clip: Float[Tensor, "F 3 H W"], fps: int) -> str:
    """A clip in [-1, 1] as a lossless animated WebP that loops."""
    return _picture_uri([Image.fromarray(_bytes(frame)) for frame in clip], "webp", fps)


def sound_uri(audio: Float[Tensor, "S"], rate: int) -> str:
    """A sound in [-1, 1] as 16-bit WAV."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.numpy(), rate, format="WAV", subtype="PCM_16")
    return _uri("audio/wav", buffer.getvalue())


def spectrogram_uri(audio: Float[Tensor, "S"]) -> str:
    """The spectrogram of a sound as a PNG of one pixel a bin and frame, low frequencies below."""
    return _picture_uri([Image.fromarray(spectrogram(audio))], "png")


def spectrogram(audio: Float[Tensor, "S"]) -> UInt8[np.ndarray, "K T 3"]:
    """Log magnitudes of a short-time Fourier transform, from 60 dB below the loudest, in colour."""
    from matplotlib import colormaps

    window = torch.hann_window(256)
    magnitude_KT = torch.stft(audio, 256, 64, window=window, return_complex=True).abs()
    decibels_KT = 20 * magnitude_KT.clamp(min=1e-5).log10()
    loudness_KT = (1 + (decibels_KT - decibels_KT.max()) / FLOOR).clamp(0, 1)
    colours = colormaps["magma"](loudness_KT.flip(0).numpy())[..., :3]
    return (colours * 255).round().astype(np.uint8)


def _bytes(image: Float[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(pixels, "C H W -> H W C").numpy()


def _picture_uri(frames: list[Image.Image], kind: str, fps: int = 1) -> str:
    buffer = io.BytesIO()
    moving = {"save_all": True, "append_images": frames[1:], "duration": 1000 // fps, "loop": 0}
    options = {"lossless": True, **moving} if kind == "webp" else {"optimize": True}
    frames[0].save(buffer, kind.upper(), **options)
    return _uri(f"image/{kind}", buffer.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
