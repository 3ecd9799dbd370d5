"""Training of the audio flow."""

from pathlib import Path
from typing import Any

import torch

from audio.files import write_audio
from audio.model import AudioConfig, build
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
        flow: FlowTraining = FlowTraining(prediction="v", times=LogitNormal(0.0, 1.0)),
        optim: OptimConfig = OptimConfig(),
        cond_dim: int = 0,
        seed: int = 0,
    ):
        """Build the codec and the network.

        Args:
            model: Length of the sound and network size.
            flow: What the flow is trained on.
            optim: Optimiser and schedule.
            cond_dim: Width of the condition; 0 trains an unconditional model. Linked from the data.
            seed: Seed of noise and times; linked from --seed_everything.
        """
        super().__init__(flow, optim, cond_dim, seed)
        self.save_hyperparameters(logger=False)
        self.codec, self.net = build(model, cond_dim)

    def write_samples(self, stem: Path, batch: dict[str, Any]) -> None:
        """Write a sound: each real one followed by a sample from its embedding."""
        real, cond = batch["audio"][:4], batch.get("cond")
        cond = cond if cond is None else cond[:4]
        drawn = self.generate(cond, FlowOptions(), seeds=range(len(real)))
        write_audio(stem.with_suffix(".wav"), torch.stack([real, drawn], dim=1).flatten())
