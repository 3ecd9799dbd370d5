"""MelCodec: a waveform as a short sequence of log-mel frames, and back."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from audio.mel import LogMel, MelConfig
from audio.spectrum import griffin_lim
from audio.vocoder import Vocoder


class MelCodec(nn.Module):
    """Waveforms to log-mel tokens, standardised per band; back by a trained vocoder.

    Without one, or before it is trained, Griffin-Lim takes its place.
    """

    positions: Int[Tensor, "T 1"]
    mean: Float[Tensor, "M"]
    std: Float[Tensor, "M"]
    fitted: Tensor

    def __init__(
        self,
        config: MelConfig,
        samples: int,
        frames_per_token: int = 1,
        vocoder: Vocoder | None = None,
    ):
        """Lay out the tokens.

        Args:
            config: The geometry of the spectra.
            samples: Length of every waveform.
            frames_per_token: Frames side by side in one token: fewer and wider tokens.
            vocoder: Makes the waveforms; its weights travel with the codec and do not learn here.
        """
        super().__init__()
        if samples % (config.hop * frames_per_token):
            raise ValueError(
                f"{samples} samples do not fill tokens of {frames_per_token} frames of "
                f"{config.hop}; choose a hop and frames_per_token whose product divides them"
            )
        self.config, self.samples, self.frames_per_token = config, samples, frames_per_token
        self.channels = config.mels * frames_per_token
        self.log_mel, self.vocoder = LogMel(config), vocoder
        if vocoder is not None:
            vocoder.requires_grad_(False)
        tokens = samples // config.hop // frames_per_token
        self.register_buffer("positions", torch.arange(tokens)[:, None], persistent=False)
        self.register_buffer("mean", torch.zeros(config.mels))
        self.register_buffer("std", torch.ones(config.mels))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, signal: Float[Tensor, "B S"]) -> None:
        """Take mean and standard deviation of each band from training data.

        Deviations are at least 1: the topmost bands are nearly always silent, and would turn their
        few sounds into outliers.
        """
        mel = self.log_mel(signal)
        self.mean.copy_(mel.mean(dim=(0, 2)))
        self.std.copy_(mel.std(dim=(0, 2)).clamp_min(1.0))
        self.fitted.fill_(True)

    def encode(self, signal: Float[Tensor, "B S"]) -> Float[Tensor, "B T C"]:
        """Return standardised tokens."""
        if signal.shape[1] != self.samples:
            raise ValueError(
                f"{signal.shape[1]} samples came but the model expects {self.samples}; read the "
                f"data with --data.seconds={self.samples / self.config.rate}"
            )
        mel = (self.log_mel(signal) - self.mean[:, None]) / self.std[:, None]
        return rearrange(mel, "B M (T p) -> B T (p M)", p=self.frames_per_token)

    def spectra(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B M F"]:
        """Return the log-mel spectra that tokens stand for, none below the floor."""
        mel = rearrange(tokens, "B T (p M) -> B M (T p)", p=self.frames_per_token)
        floor = torch.tensor(self.config.floor).log().to(mel)
        return (mel * self.std[:, None] + self.mean[:, None]).maximum(floor)

    def decode(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B S"]:
        """Return waveforms in [-1, 1]."""
        vocoder = self.vocoder
        synthesise = self.griffin_lim if vocoder is None or not vocoder.trained else vocoder
        return synthesise(self.spectra(tokens)).clamp(-1, 1)

    def griffin_lim(self, mel: Float[Tensor, "B M F"]) -> Float[Tensor, "B S"]:
        """Return waveforms by the bands' pseudo-inverse and Griffin-Lim: the floor to beat."""
        audible = mel.exp() - self.config.floor
        inverse = torch.linalg.pinv(self.log_mel.bank)
        magnitude = torch.einsum("bmf,mk->bkf", audible, inverse).clamp_min(0)
        return griffin_lim(magnitude, self.log_mel.window, self.config.hop)
