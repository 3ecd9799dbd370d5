"""Training of the audio flow."""

from pathlib import Path
from typing import Any

import torch

from audio.files import write_audio
from audio.model import AudioConfig, build
from audio.vocoder_module import VocoderModule
from core.checkpoint import load_module
from core.errors import UserError
from core.flow import LogitNormal
from core.flow_module import FlowModule, FlowTraining
from core.optim import OptimConfig
from core.sampling import FlowOptions


class AudioModule(FlowModule):
    """Flow matching on log-mel frames, conditioned on audio embeddings."""

    kind = "audio"

    def __init__(
        self,
        model: AudioConfig = AudioConfig(),
        flow: FlowTraining = FlowTraining(prediction="v", times=LogitNormal(-1.5, 1.0)),
        optim: OptimConfig = OptimConfig(),
        vocoder: str | None = None,
        cond_dim: int = 0,
        seed: int = 0,
    ):
        """Build the codec and the network.

        Args:
            model: Length of the sound and network size.
            flow: What the flow is trained on.
            optim: Optimiser and schedule.
            vocoder: A last.ckpt of `python -m audio.train_vocoder`, copied into this model when
                training starts; without it Griffin-Lim makes the sound.
            cond_dim: Width of the condition; 0 trains an unconditional model. Linked from the data.
            seed: Seed of noise and times; linked from --seed_everything.
        """
        super().__init__(flow, optim, cond_dim, seed)
        self.save_hyperparameters(logger=False)
        self.codec, self.net = build(model, cond_dim)
        self.vocoder_checkpoint = vocoder

    def on_fit_start(self) -> None:
        """Fit the codec and take over the vocoder, unless a checkpoint brought them."""
        super().on_fit_start()
        if self.vocoder_checkpoint and not self.codec.vocoder.trained:
            self.codec.vocoder.load_state_dict(self._trained_vocoder(self.vocoder_checkpoint))

    def _trained_vocoder(self, path: str) -> dict[str, Any]:
        """Return the averaged weights of a vocoder for the same spectra and of the same size."""
        trained = load_module(path, VocoderModule).vocoder
        ours = (self.codec.vocoder.config, self.codec.config)
        theirs = (trained.config, trained.log_mel.config)
        if ours != theirs:
            raise UserError(
                f"{path} holds a vocoder of {theirs} but this model has {ours}; "
                "train it again, or set --model.model.vocoder and --model.model.mel to match"
            )
        return trained.state_dict()

    def write_samples(self, stem: Path, batch: dict[str, Any]) -> None:
        """Write a sound: each real one followed by a sample from its embedding."""
        rate = self.codec.config.rate
        real, cond = batch["audio"][:4], batch.get("cond")
        cond = cond if cond is None else cond[:4]
        drawn = self.generate(cond, FlowOptions(), seeds=range(len(real)))
        write_audio(stem.with_suffix(".wav"), torch.stack([real, drawn], dim=1).flatten(), rate)
