"""The audio network: a denoising transformer over log-mel frames."""

from dataclasses import dataclass, field

from audio.codec import MelCodec
from audio.mel import MelConfig
from audio.vocoder import Vocoder, VocoderConfig
from core.denoiser import Denoiser, DenoiserConfig


@dataclass(frozen=True)
class AudioConfig:
    """Length of the sound and size of the network."""

    samples: int = 10400
    """Samples a sound: 1.3 s at 8 kHz; linked from the data."""
    frames_per_token: int = 1
    """Spectra side by side in one token."""
    components: int | None = None
    """Principal components that a token keeps; None keeps all."""
    mel: MelConfig = field(default_factory=MelConfig)
    """The spectra."""
    net: DenoiserConfig = field(default_factory=DenoiserConfig)
    """The transformer."""
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)
    """What turns spectra into sound; trained by `python -m audio.train_vocoder`."""


def build(config: AudioConfig, cond_dim: int) -> tuple[MelCodec, Denoiser]:
    """Return the codec and the network that reads its tokens."""
    vocoder = Vocoder(config.vocoder, config.mel)
    codec = MelCodec(
        config.mel, config.samples, config.frames_per_token, config.components, vocoder
    )
    return codec, Denoiser(config.net, codec.channels, codec.positions, cond_dim)
