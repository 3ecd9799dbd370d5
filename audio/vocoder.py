"""A small vocoder: log-mel spectra to a waveform, by a source, a filter and a few corrections.

A network reads from the spectra the pitch of the voice and how strongly pulses and noise sound in
each band and moment. Pulses at that pitch and noise pass through these filters; then a few times
the result is measured, and scaled where its spectra miss those asked for. Phases come from the
pulses alone, so pitch is exact and nothing has to be guessed about phase.

Source: McAulay and Quatieri 1986 and Serra and Smith 1990 (harmonics plus noise), Engel et al. 2020
(DDSP, filters from a network), Siuzdak 2023 (Vocos, the ConvNeXt trunk over frames).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from audio.excitation import hiss, pulses
from audio.mel import LogMel, MelConfig
from audio.metrics import HIGHEST, LOWEST
from audio.spectrum import istft, stft
from core.errors import UserError

QUIETEST, LOUDEST = -10.0, 6.0
"""Bounds of a filter's log gain."""
STEP = 3.0
"""Bound of one correction, in natural-log units."""


@dataclass(frozen=True)
class VocoderConfig:
    """Size of the vocoder."""

    width: int = 128
    """Channels of the trunk."""
    depth: int = 4
    """ConvNeXt blocks."""
    bands: int = 40
    """Bands of a filter, mel-spaced."""
    hop: int = 52
    """Samples from filter to filter; must divide the spectra's hop."""
    window: int = 256
    """Samples that a filter acts on."""
    pitches: int = 96
    """Steps of the pitch that the network chooses among, evenly in octaves."""
    corrections: int = 8
    """Times that the result is scaled towards the spectra asked for."""

    def __post_init__(self):
        if min(self.width, self.depth, self.bands, self.hop) < 1 or self.pitches < 2:
            raise UserError(f"sizes must be 1 or more, pitches 2 or more: {self}")


class Controls(NamedTuple):
    """What the network reads from spectra."""

    pitch_logits: Float[Tensor, "B F2 P"]
    """Log-probabilities, unnormalised, of the pitch; two a frame of the spectra."""
    pulse_gain: Float[Tensor, "B M2 F4"]
    """Log gain of the pulses in each band, one a hop of the filters."""
    noise_gain: Float[Tensor, "B M2 F4"]
    """Log gain of the noise."""


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution over frames and an MLP over channels, on a residual path.

    Source: Liu et al. 2022, figure 4, in one dimension.
    """

    def __init__(self, width: int, scale: float):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Float[Tensor, "B D F"]) -> Float[Tensor, "B D F"]:
        """Transform each frame in view of its neighbours."""
        h = self.mlp(rearrange(self.depthwise(x), "B D F -> B F D"))
        return x + rearrange(self.scale * h, "B F D -> B D F")


class Vocoder(nn.Module):
    """Log-mel spectra to waveforms."""

    mean: Float[Tensor, "M"]
    std: Float[Tensor, "M"]
    trained: Bool[Tensor, ""]
    window: Float[Tensor, "W"]
    spread: Float[Tensor, "K M2"]
    mel_spread: Float[Tensor, "K2 M"]
    log_pitches: Float[Tensor, "P"]

    def __init__(self, config: VocoderConfig, mel: MelConfig):
        super().__init__()
        if mel.hop % config.hop or mel.hop % 2:
            raise UserError(
                f"the vocoder's hop {config.hop} must divide the spectra's hop {mel.hop}, an even "
                f"number; set it to {mel.hop // 4}"
            )
        if config.window < config.hop or (config.window - config.hop) % 2:
            raise UserError(
                f"the vocoder's window {config.window} must exceed its hop {config.hop} by an even "
                f"number of samples; set it to {mel.window // 2}"
            )
        self.config, self.log_mel = config, LogMel(mel)
        self.upsampling = mel.hop // config.hop
        outputs = 2 * self.upsampling * config.bands + 2 * config.pitches
        self.read = nn.Conv1d(mel.mels, config.width, 5, padding=2)
        self.blocks = nn.Sequential(
            *(ConvNeXtBlock(config.width, 1 / config.depth) for _ in range(config.depth))
        )
        self.write = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, outputs))
        bank = melscale_fbanks(config.window // 2 + 1, 0.0, mel.rate / 2, config.bands, mel.rate)
        pitches = torch.linspace(math.log(LOWEST), math.log(HIGHEST), config.pitches)
        for name, value in (
            ("window", torch.hann_window(config.window)),
            ("spread", _normalised(bank)),
            ("mel_spread", _normalised(self.log_mel.bank)),
            ("log_pitches", pitches),
        ):
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("mean", torch.zeros(mel.mels))
        self.register_buffer("std", torch.ones(mel.mels))
        self.register_buffer("trained", torch.tensor(False))

    @torch.no_grad()
    def fit(self, wave: Float[Tensor, "B S"]) -> None:
        """Take mean and standard deviation of each band from training data."""
        mel = self.log_mel(wave)
        self.mean.copy_(mel.mean(dim=(0, 2)))
        self.std.copy_(mel.std(dim=(0, 2)).clamp_min(1.0))
        self.trained.fill_(True)

    def forward(self, mel: Float[Tensor, "B M F"]) -> Float[Tensor, "B S"]:
        """Return waveforms with those spectra."""
        controls = self.controls(mel)
        pitch = self.pitch(controls.pitch_logits)
        return self.synthesise(mel, controls, pitch, self.config.corrections)

    def controls(self, mel: Float[Tensor, "B M F"]) -> Controls:
        """Read pitch and filters from spectra."""
        x = (mel - self.mean[:, None]) / self.std[:, None]
        h = self.write(rearrange(self.blocks(self.read(x)), "B D F -> B F D"))
        split = 2 * self.config.pitches
        logits = rearrange(h[..., :split], "B F (two P) -> B (F two) P", two=2)
        gains = rearrange(h[..., split:], "B F (r g M) -> g B M (F r)", g=2, r=self.upsampling)
        return Controls(logits, gains[0] - 3.0, gains[1] - 5.0)

    def pitch(self, logits: Float[Tensor, "B F P"]) -> Float[Tensor, "B F"]:
        """Return the pitch in Hz: the mean, in octaves, around the likeliest."""
        likely = logits.argmax(-1, keepdim=True)
        index = torch.arange(self.config.pitches, device=logits.device)
        near = logits.masked_fill((index - likely).abs() > 3, -torch.inf).softmax(-1)
        return (near @ self.log_pitches).exp()

    def synthesise(
        self,
        mel: Float[Tensor, "B M F"],
        controls: Controls,
        pitch: Float[Tensor, "B F2"],
        corrections: int,
    ) -> Float[Tensor, "B S"]:
        """Filter pulses and noise, and correct the result."""
        config, geometry = self.config, self.log_mel.config
        source = pulses(pitch, geometry.hop // 2, geometry.rate)
        noise = hiss(source.shape[1], mel.device)
        voice = stft(source, self.window, config.hop) * self._filter(controls.pulse_gain)
        breath = stft(noise, self.window, config.hop) * self._filter(controls.noise_gain)
        wave, target = istft(voice + breath, self.window, config.hop), self._audible(mel)
        for _ in range(corrections):
            wave = self._correct(wave, target)
        return wave

    def _filter(self, gain: Float[Tensor, "B M2 F"]) -> Float[Tensor, "B K F"]:
        """Spread log gains of bands over the bins of a spectrum."""
        return torch.einsum("bmf,km->bkf", gain.clamp(QUIETEST, LOUDEST), self.spread).exp()

    def _audible(self, mel: Float[Tensor, "B M F"]) -> Float[Tensor, "B M F"]:
        """Take the floor's power off: spectra at the floor mean silence, not a hiss."""
        floor = self.log_mel.config.floor
        return ((2 * mel).exp() - floor**2).clamp_min((floor * math.exp(-STEP)) ** 2).log() / 2

    def _correct(
        self, wave: Float[Tensor, "B S"], target: Float[Tensor, "B M F"]
    ) -> Float[Tensor, "B S"]:
        """Scale each bin by how far its bands miss the target; phases stay."""
        window, hop = self.log_mel.window, self.log_mel.config.hop
        spectra = stft(wave, window, hop)
        bands = torch.einsum("bkf,km->bmf", spectra.abs(), self.log_mel.bank)
        miss = (target - bands.clamp_min(1e-4).log()).clamp(-STEP, STEP)
        gain = torch.einsum("bmf,km->bkf", miss, self.mel_spread).exp()
        return istft(spectra * gain, window, hop)


def _normalised(bank: Float[Tensor, "K M"]) -> Float[Tensor, "K M"]:
    """Scale a filterbank so that its weights sum to one in each bin; no band hears the two ends."""
    bank = torch.cat([bank[1:2], bank[1:-1], bank[-2:-1]])
    return bank / bank.sum(1, keepdim=True)
