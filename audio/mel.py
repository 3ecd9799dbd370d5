"""Log-mel spectra: the picture of a sound that codec, vocoder and tower share."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from audio.spectrum import stft
from core.errors import UserError


@dataclass(frozen=True)
class MelConfig:
    """The geometry of the spectra."""

    rate: int = 8000
    """Samples a second; linked from the data."""
    mels: int = 64
    """Mel bands up to half the rate."""
    hop: int = 208
    """Samples from frame to frame: 50 frames in 1.3 s. At another rate, `at` scales it."""
    window: int = 512
    """Samples a frame sees: long enough to tell the harmonics of a voice apart."""
    floor: float = 0.02
    """Smallest magnitude told from silence: about 60 dB below a loud vowel."""

    def __post_init__(self):
        if min(self.rate, self.mels, self.hop) < 1:
            raise UserError(f"rate, mels and hop must be 1 or more: {self}")
        if self.window < self.hop or (self.window - self.hop) % 2:
            raise UserError(
                f"window {self.window} must exceed hop {self.hop} by an even number of samples"
            )
        if self.floor <= 0:
            raise UserError(f"floor is {self.floor} but a logarithm needs more than 0")

    @classmethod
    def at(cls, rate: int) -> "MelConfig":
        """Return spectra of sounds at another rate, whose frames last as long: 26 and 64 ms.

        The hop is a multiple of 8, as the vocoder's filters take a quarter of it and its pulses a
        half; the window one of 32.
        """
        hop = 8 * max(1, round(cls.hop * rate / cls.rate / 8))
        window = 32 * max(1, round(cls.window * rate / cls.rate / 32))
        return cls(rate, hop=hop, window=max(window, hop))


class LogMel(nn.Module):
    """Waveform to log-mel spectra: magnitudes, HTK bands, natural logarithm, clamped at a floor."""

    window: Float[Tensor, "W"]
    bank: Float[Tensor, "K M"]

    def __init__(self, config: MelConfig):
        super().__init__()
        self.config = config
        bins = config.window // 2 + 1
        bank = melscale_fbanks(bins, 0.0, config.rate / 2, config.mels, config.rate)
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        self.register_buffer("bank", bank, persistent=False)

    def forward(self, wave: Float[Tensor, "B S"]) -> Float[Tensor, "B M F"]:
        """Return one spectrum a hop; silence fills the last one up."""
        # One sample short of a hop: the last one is whole at any length, exported towers' too.
        wave = F.pad(wave, (0, self.config.hop - 1))
        magnitude = stft(wave, self.window, self.config.hop).abs()
        mel = torch.einsum("bkf,km->bmf", magnitude, self.bank)
        return mel.clamp_min(self.config.floor).log()

    def fill(self, wave: Float[Tensor, "B S"], frames: int = 1) -> Float[Tensor, "B S2"]:
        """Append silence up to a multiple of so many frames."""
        missing = -wave.shape[1] % (frames * self.config.hop)
        return F.pad(wave, (0, missing)) if missing else wave
