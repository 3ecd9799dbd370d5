"""Text: a byte-level tokenizer, a decoder-only transformer, a tower."""

from text.data import TextData
from text.encoder import TextEncoder, TextEncoderConfig
from text.model import TextConfig
from text.module import TextModule
from text.sampling import TextOptions
from text.tokenizer import TextCodec

__all__ = [
    "TextCodec",
    "TextConfig",
    "TextData",
    "TextEncoder",
    "TextEncoderConfig",
    "TextModule",
    "TextOptions",
]
