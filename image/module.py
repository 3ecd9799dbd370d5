"""Training of the image flow."""

from pathlib import Path
from typing import Any

import torch

from core.flow import LogitNormal
from core.flow_module import FlowModule, FlowTraining
from core.optim import OptimConfig
from core.sampling import FlowOptions
from image.files import write_image
from image.model import ImageConfig, build


class ImageModule(FlowModule):
    """Flow matching on patches, conditioned on image embeddings."""

    kind = "image"

    def __init__(
        self,
        model: ImageConfig = ImageConfig(),
        flow: FlowTraining = FlowTraining(prediction="x", times=LogitNormal(-1.25, 1.0)),
        optim: OptimConfig = OptimConfig(),
        cond_dim: int = 0,
        seed: int = 0,
    ):
        """Build the codec and the network.

        Args:
            model: Picture and network sizes.
            flow: What the flow is trained on.
            optim: Optimiser and schedule.
            cond_dim: Width of the condition; 0 trains an unconditional model. Linked from the data.
            seed: Seed of noise and times; linked from --seed_everything.
        """
        super().__init__(flow, optim, cond_dim, seed)
        self.save_hyperparameters(logger=False)
        self.codec, self.net = build(model, cond_dim)

    def write_samples(self, stem: Path, batch: dict[str, Any]) -> None:
        """Write a picture: real images above, samples from their embeddings below."""
        real, cond = batch["image"][:8], batch.get("cond")
        cond = cond if cond is None else cond[:8]
        drawn = self.generate(cond, FlowOptions(), seeds=range(len(real)))
        rows = [torch.cat(list(images), dim=2) for images in (real, drawn)]
        write_image(stem.with_suffix(".png"), torch.cat(rows, dim=1), upscale=2)
