"""The audio tower: a waveform to a point on the unit sphere."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from audio.augment import augment, mask
from audio.mel import LogMel, MelConfig
from core.convolution import conv_stage

RANGE = 8.0
"""Natural-log units below a sound's loudest band that the tower sees: 69 dB."""


@dataclass(frozen=True)
class AudioEncoderConfig:
    """Size of the audio tower."""

    embedding: int = 64
    """Width of the shared space."""
    width: int = 16
    """Channels of the first stage; each of three stages doubles them."""
    mel: MelConfig = field(default_factory=lambda: MelConfig(floor=1e-4))
    """The spectra that it looks at."""
    shift: float = 0.1
    """Augmentation in training: largest shift in time, as a share of the length."""
    samples: int = 10_400
    """Length of the sounds in training; linked from the data."""


class AudioEncoder(nn.Module):
    """Three strided stages of convolutions over log-mel spectra, pooled over time alone.

    Frequency stays, as pitch carries a factor. Levels are taken relative to the loudest band, so
    that gain does not matter. In training mode each sound is varied by its own seed.
    """

    def __init__(self, config: AudioEncoderConfig = AudioEncoderConfig()):
        super().__init__()
        self.config, w = config, config.width
        self.log_mel = LogMel(config.mel)
        self.trunk = nn.Sequential(
            conv_stage(1, w, stride=2),
            conv_stage(w, 2 * w, stride=2),
            conv_stage(2 * w, 4 * w, stride=2),
            conv_stage(4 * w, 4 * w),
        )
        bands = -(-config.mel.mels // 8)
        self.head = nn.Linear(2 * bands * 4 * w, config.embedding)

    def forward(
        self, waves: Float[Tensor, "B S"], seeds: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B E"]:
        """Return unit-norm embeddings; seeds are needed in training mode only."""
        seeds = seeds if self.training else None
        if seeds is not None:
            waves = augment(waves, seeds, self.config.shift)
        mel = self.log_mel(waves)
        mel = 1 + (mel - mel.amax(dim=(1, 2), keepdim=True)).clamp_min(-RANGE) * (2 / RANGE)
        if seeds is not None:
            mel = mask(mel, seeds)
        h = self.trunk(rearrange(mel, "B M F -> B 1 M F"))
        pooled = torch.cat([h.mean(dim=3), h.amax(dim=3)], dim=1)
        return F.normalize(self.head(rearrange(pooled, "B C M -> B (C M)")), dim=-1)
