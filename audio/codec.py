"""MelCodec: a waveform as a short sequence of log-mel frames, and back."""

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from audio.mel import LogMel, MelConfig
from audio.spectrum import griffin_lim
from audio.vocoder import Vocoder
from core.components import Components
from core.errors import UserError


class MelCodec(nn.Module):
    """Waveforms to log-mel tokens in their principal components; back by a trained vocoder.

    Without one, or before it is trained, Griffin-Lim takes its place. Silence fills the last token
    up, and is cut off again.
    """

    positions: Int[Tensor, "T 1"]

    def __init__(
        self,
        config: MelConfig,
        samples: int,
        frames_per_token: int = 1,
        components: int | None = None,
        vocoder: Vocoder | None = None,
    ):
        """Lay out the tokens.

        Args:
            config: The geometry of the spectra.
            samples: Length of every waveform.
            frames_per_token: Frames side by side in one token: fewer and wider tokens.
            components: Principal components that a token keeps; None keeps all.
            vocoder: Makes the waveforms; its weights travel with the codec and do not learn here.
        """
        super().__init__()
        if min(samples, frames_per_token) < 1:
            raise UserError(
                f"samples is {samples} and frames_per_token {frames_per_token} but both must be 1 "
                "or more"
            )
        self.config, self.samples, self.frames_per_token = config, samples, frames_per_token
        self.log_mel, self.vocoder = LogMel(config), vocoder
        if vocoder is not None:
            vocoder.requires_grad_(False)
        self.components = Components(config.mels * frames_per_token, components)
        self.channels = self.components.channels
        tokens = math.ceil(samples / (config.hop * frames_per_token))
        self.register_buffer("positions", torch.arange(tokens)[:, None], persistent=False)

    @property
    def fitted(self) -> bool:
        """Whether the components were taken from data."""
        return bool(self.components.fitted)

    def fit(self, signal: Float[Tensor, "B S"]) -> None:
        """Take the principal components of training data."""
        self.components.fit(rearrange(self._rows(signal), "B T P -> (B T) P"))

    def encode(self, signal: Float[Tensor, "B S"]) -> Float[Tensor, "B T C"]:
        """Return tokens of unit variance overall."""
        if signal.shape[1] != self.samples:
            raise UserError(
                f"{signal.shape[1]} samples came but the model expects {self.samples}; read the "
                f"data with --data.seconds={self.samples / self.config.rate}"
            )
        return self.components.encode(self._rows(signal))

    def spectra(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B M F"]:
        """Return the log-mel spectra that tokens stand for, none below the floor."""
        rows = self.components.decode(tokens)
        mel = rearrange(rows, "B T (p M) -> B M (T p)", p=self.frames_per_token)
        return mel.clamp_min(math.log(self.config.floor))

    def _rows(self, signal: Float[Tensor, "B S"]) -> Float[Tensor, "B T P"]:
        mel = self.log_mel(self.log_mel.fill(signal, self.frames_per_token))
        return rearrange(mel, "B M (T p) -> B T (p M)", p=self.frames_per_token)

    def decode(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B S"]:
        """Return waveforms in [-1, 1]."""
        vocoder = self.vocoder
        synthesise = self.griffin_lim if vocoder is None or not vocoder.trained else vocoder
        return synthesise(self.spectra(tokens))[:, : self.samples].clamp(-1, 1)

    def griffin_lim(self, mel: Float[Tensor, "B M F"]) -> Float[Tensor, "B S"]:
        """Return waveforms by the bands' pseudo-inverse and Griffin-Lim: the floor to beat."""
        audible = mel.exp() - self.config.floor
        inverse = torch.linalg.pinv(self.log_mel.bank)
        magnitude = torch.einsum("bmf,mk->bkf", audible, inverse).clamp_min(0)
        return griffin_lim(magnitude, self.log_mel.window, self.config.hop)
