"""Sounds: log-mel frames, a denoising transformer, a vocoder, a tower."""

from audio.codec import MelCodec
from audio.data import AudioData, link_spectra
from audio.encoder import AudioEncoder, AudioEncoderConfig
from audio.mel import MelConfig
from audio.model import AudioConfig
from audio.module import AudioModule

__all__ = [
    "AudioConfig",
    "AudioData",
    "AudioEncoder",
    "AudioEncoderConfig",
    "AudioModule",
    "MelCodec",
    "MelConfig",
    "link_spectra",
]
