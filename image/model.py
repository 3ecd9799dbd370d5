"""The image network: a denoising transformer over patches."""

from dataclasses import dataclass

from core.denoiser import Denoiser, DenoiserConfig
from core.errors import UserError
from image.codec import PatchCodec


@dataclass(frozen=True)
class ImageConfig:
    """Size of the picture and of the network."""

    size: int = 32
    """Pixels a side; linked from the data."""
    patch: int = 8
    """Pixels a side of one token."""
    components: int | None = 64
    """Principal components kept of each patch's pixels; None keeps all."""
    net: DenoiserConfig = DenoiserConfig()
    """The transformer."""

    def __post_init__(self):
        if self.size < 1 or self.patch < 1:
            raise UserError(f"size {self.size} and patch {self.patch} must be 1 pixel or more")


def build(config: ImageConfig, cond_dim: int) -> tuple[PatchCodec, Denoiser]:
    """Return the codec and the network that reads its tokens."""
    codec = PatchCodec(config.size, config.patch, config.components)
    return codec, Denoiser(config.net, codec.channels, codec.positions, cond_dim)
