"""Images: patches of pixels, a denoising transformer, a tower."""

from image.codec import PatchCodec
from image.data import ImageData
from image.encoder import ImageEncoder, ImageEncoderConfig
from image.model import ImageConfig
from image.module import ImageModule

__all__ = [
    "ImageConfig",
    "ImageData",
    "ImageEncoder",
    "ImageEncoderConfig",
    "ImageModule",
    "PatchCodec",
]
