"""Training of the vocoder: spectra and waveform must agree, at several resolutions."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audio.files import write_audio
from audio.losses import stft_loss
from audio.mel import MelConfig
from audio.metrics import pitch, pitch_error
from audio.vocoder import Vocoder, VocoderConfig
from core.batches import real_samples
from core.errors import UserError
from core.module import TrainedModule
from core.noise import normal, uniform
from core.optim import AdamW, OptimConfig

WINDOWS = (128, 256, 512)
"""FFT lengths of the training loss at 8 kHz; a mel distance comes on top."""


class VocoderModule(TrainedModule):
    """Learns pitch from the waveform's autocorrelation, and the filters from how it sounds."""

    kind = "vocoder"

    def __init__(
        self,
        model: VocoderConfig = VocoderConfig(),
        mel: MelConfig = MelConfig(),
        optim: OptimConfig = OptimConfig(rule=AdamW(lr=4e-3, betas=(0.8, 0.95))),
        crop: int = 25,
        noise: float = 0.15,
        pitch_weight: float = 0.2,
        corrections: int = 2,
        seed: int = 0,
    ):
        """Build the vocoder.

        Args:
            model: Its size.
            mel: The spectra that it reads; those of the audio model that will use it.
            optim: Optimiser and schedule.
            crop: Frames of each sound that a step trains on, at most.
            noise: Largest deviation of the noise added to standardised spectra: generated ones are
                not perfect either.
            pitch_weight: Weight of the pitch's cross-entropy beside the spectral losses.
            corrections: Corrections in training, which cost time: fewer than in use will do.
            seed: Seed of crops and noise; linked from --seed_everything.
        """
        super().__init__(optim, seed)
        if crop < 2:
            raise UserError(f"crop is {crop} but must be 2 frames or more")
        self.save_hyperparameters(logger=False)
        self.crop, self.noise, self.pitch_weight = crop, noise, pitch_weight
        self.corrections = corrections
        self.vocoder = Vocoder(model, mel)

    def on_fit_start(self) -> None:
        """Fit the statistics on training data, unless a checkpoint brought them."""
        if not self.vocoder.trained:
            waves = [batch["audio"] for batch in self.first_batches(16)]
            self.vocoder.fit(torch.cat(waves).to(self.device))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss on one batch of crops."""
        losses = self.losses(batch["audio"], self.seeds(batch))
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        loss = losses["stft"] + losses["mel"] + self.pitch_weight * losses["pitch"]
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log how far resynthesised sounds lie from the originals; the loss is that of spectra."""
        batch, count = real_samples(batch)
        rate = self.vocoder.log_mel.config.rate
        real = self.vocoder.log_mel.fill(batch["audio"])
        target = self.vocoder.log_mel(real)
        drawn = self.vocoder(target)
        distance, agreement = pitch_error(drawn, real, rate=rate)
        mel = (self.vocoder.log_mel(drawn) - target).abs().mean()
        stft = stft_loss(drawn, real, rate=rate)
        values = {
            "loss": stft + mel,
            "mel": mel,
            "stft": stft,
            "semitones": distance,
            "pitch_agreement": agreement,
        }
        self.log_dict({f"val/{k}": v for k, v in values.items()}, batch_size=count)

    def losses(
        self, wave: Float[Tensor, "B S"], seeds: Int[Tensor, "B"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Return distances of spectra (`stft`, `mel`) and the cross-entropy of the pitch.

        The filters learn under the true pitch where there is one: else each would make up for the
        other's mistakes.
        """
        hop, rate = self.vocoder.log_mel.config.hop, self.vocoder.log_mel.config.rate
        wave = self.vocoder.log_mel.fill(wave)
        mel = self.vocoder.log_mel(wave)
        crop = min(self.crop, mel.shape[2])
        start = self._starts(mel, seeds, crop)
        true = _crop(pitch(wave, rate=rate, hop=hop // 2), 2 * start, 2 * crop)
        wave, mel = _crop(wave, start * hop, crop * hop), _crop(mel, start, crop)
        noise = normal(seeds, mel.shape[1:], stream=5) * self.vocoder.std[:, None]
        amount = self.noise * uniform(seeds, (1, 1), stream=6)
        controls = self.vocoder.controls(mel + amount * noise)
        voiced = ~true.isnan()
        heard = self.vocoder.pitch(controls.pitch_logits).detach()
        followed = torch.where(voiced, true, heard)
        drawn = self.vocoder.synthesise(mel, controls, followed, self.corrections)
        return {
            "stft": stft_loss(drawn, wave, WINDOWS, rate=rate),
            "mel": (self.vocoder.log_mel(drawn) - self.vocoder.log_mel(wave)).abs().mean(),
            "pitch": self._pitch_loss(controls.pitch_logits, true, voiced),
        }

    def _pitch_loss(
        self,
        logits: Float[Tensor, "B F P"],
        true: Float[Tensor, "B F"],
        voiced: Bool[Tensor, "B F"],
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy against a bump, one step wide, at the true pitch."""
        steps = self.vocoder.log_pitches
        away = (true.nan_to_num(100.0).log()[..., None] - steps) / (steps[1] - steps[0])
        target = (-away.square() / 2).softmax(-1)
        entropy = -(target * logits.log_softmax(-1)).sum(-1)
        return (entropy * voiced).sum() / voiced.sum().clamp_min(1)

    def _starts(
        self, mel: Float[Tensor, "B M F"], seeds: Int[Tensor, "B"], crop: int
    ) -> Int[Tensor, "B"]:
        """Draw where each crop starts: from anywhere up to where only a quarter would sound."""
        frames = mel.shape[2]
        sounding = mel.amax(dim=1) > mel.amin(dim=(1, 2))[:, None] + 1
        last = (sounding * torch.arange(frames, device=mel.device)).amax(dim=1)
        latest = (last - crop // 4).clamp(0, frames - crop)
        return (uniform(seeds, stream=7) * (latest + 1)).long().minimum(latest)

    def write_samples(self, stem: Path, batch: dict[str, Any]) -> None:
        """Write a sound: each real one followed by its resynthesis."""
        real = self.vocoder.log_mel.fill(batch["audio"][:4])
        both = torch.stack([real, self.vocoder(self.vocoder.log_mel(real))], dim=1)
        write_audio(stem.with_suffix(".wav"), both.flatten(), self.vocoder.log_mel.config.rate)


def _crop(x: Tensor, start: Int[Tensor, "B"], length: int) -> Tensor:
    """Cut `length` from the last axis of each row, from a start of its own."""
    index = start[:, None] + torch.arange(length, device=x.device)
    if x.ndim == 3:
        index = index[:, None].expand(-1, x.shape[1], -1)
    return x.gather(-1, index)
