"""Members of a sample, bytes to tensors and back, by file format."""

import io

import numpy as np
import soundfile
import torch
from einops import rearrange
from jaxtyping import Float, Int16, Shaped, UInt8
from PIL import Image
from torch import Tensor

from core.errors import UserError


def decode_png(data: bytes) -> UInt8[Tensor, "3 H W"]:
    """Decode a picture to RGB."""
    with Image.open(io.BytesIO(data)) as picture:
        pixels_HWC = np.array(picture.convert("RGB"))
    return rearrange(torch.from_numpy(pixels_HWC), "H W C -> C H W").contiguous()


def encode_png(pixels: UInt8[Tensor, "3 H W"]) -> bytes:
    """Encode RGB without loss."""
    stream = io.BytesIO()
    pixels_HWC = rearrange(pixels, "C H W -> H W C").contiguous().numpy()
    Image.fromarray(pixels_HWC).save(stream, format="PNG", optimize=False)
    return stream.getvalue()


def decode_flac(data: bytes, rate: int) -> Int16[Tensor, " S"]:
    """Decode mono 16-bit audio that must have `rate` Hz."""
    samples, found = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
    if found != rate or samples.shape[1] != 1:
        raise UserError(
            f"audio has {found} Hz and {samples.shape[1]} channels but {rate} Hz mono is expected; "
            f"rebuild the shards with --rate {rate}"
        )
    return torch.from_numpy(rearrange(samples, "S 1 -> S"))


def encode_flac(samples: Int16[Tensor, " S"], rate: int) -> bytes:
    """Encode mono 16-bit audio without loss."""
    stream = io.BytesIO()
    soundfile.write(stream, samples.numpy(), rate, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def fit_length(samples: Int16[Tensor, " S"], length: int) -> Int16[Tensor, " L"]:
    """Cut or pad with silence to `length` samples."""
    fitted = samples.new_zeros(length)
    kept = min(length, len(samples))
    fitted[:kept] = samples[:kept]
    return fitted


def decode_npy(data: bytes) -> Tensor:
    """Decode an array."""
    found = load_array(io.BytesIO(data))
    try:
        return torch.from_numpy(found)
    except TypeError as error:
        raise UserError(f"it holds {found.dtype}, which no tensor can") from error


def load_array(file: io.BufferedIOBase) -> np.ndarray:
    """Load an array; a damaged one is a ValueError, whatever numpy's parser of headers raises."""
    try:
        found = np.load(file, allow_pickle=False)
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"it is no array ({line})") from error
    if not isinstance(found, np.ndarray):
        raise UserError("it is an archive, not one array")
    return found


def encode_npy(array: Tensor) -> bytes:
    """Encode an array."""
    stream = io.BytesIO()
    np.save(stream, array.numpy())
    return stream.getvalue()


def decode_clip(data: bytes) -> UInt8[Tensor, "F 3 H W"]:
    """Decode a clip kept as an array of bytes [F, H, W, 3]."""
    clip = decode_npy(data)
    if clip.ndim != 4 or clip.shape[-1] != 3 or clip.dtype != torch.uint8:
        raise UserError(
            f"clip has shape {list(clip.shape)} and type {clip.dtype} but uint8 [F, H, W, 3] is "
            "expected; rebuild the shards"
        )
    return rearrange(clip, "F H W C -> F C H W").contiguous()


def encode_clip(clip: UInt8[Tensor, "F 3 H W"]) -> bytes:
    """Encode a clip as an array of bytes [F, H, W, 3]."""
    return encode_npy(rearrange(clip, "F C H W -> F H W C").contiguous())


def to_float(values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Compact integers as floats in [-1, 1]: bytes are [0, 255], 16-bit samples [-32768, 32767].

    Others stay as they are: floats, and the wider integers that tokens are.
    """
    if values.dtype == torch.uint8:
        return values.float().div_(127.5).sub_(1)
    if values.dtype == torch.int16:
        return values.float().div_(32768)
    return values


def to_bytes(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Floats in [-1, 1] as bytes [0, 255]: the inverse of `to_float`."""
    return values.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def to_pcm(values: Float[Tensor, "*shape"]) -> Int16[Tensor, "*shape"]:
    """Floats in [-1, 1] as 16-bit samples: the inverse of `to_float`."""
    return values.mul(32768).round().clamp(-32768, 32767).to(torch.int16)
