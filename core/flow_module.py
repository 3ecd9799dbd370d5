"""The shared training of flows over tokens: image, audio and video differ in codec and network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.batches import real_samples
from core.embeddings import corrupt
from core.errors import UserError
from core.flow import LogitNormal, Prediction, flow_loss, interpolate, velocity
from core.module import TrainedModule
from core.noise import normal, seeds_tensor, uniform
from core.optim import OptimConfig
from core.sampling import FlowOptions, Velocity, guided, solve


@dataclass(frozen=True)
class FlowTraining:
    """What the flow is trained on."""

    prediction: Prediction = "x"
    """Output of the network: clean tokens, or the velocity."""
    times: LogitNormal = LogitNormal()
    """Distribution of training times."""
    drop: float = 0.1
    """Share of samples whose condition is replaced by the learned null."""
    cond_noise: float = 0.4
    """Length of the Gaussian noise added to the unit condition before it is renormalised."""

    def __post_init__(self):
        if not 0 <= self.drop < 1:
            raise UserError(f"drop is {self.drop} but must be a share from 0 to below 1")
        if self.cond_noise < 0:
            raise UserError(f"cond_noise is {self.cond_noise} but must be 0 or more")


class FlowModule(TrainedModule):
    """A codec and a denoising network; a batch holds the signal under the module's kind."""

    codec: Any
    """The modality's own; see `core.protocols.Codec`."""
    net: Any
    """Reads noisy tokens, time and condition."""

    def __init__(self, flow: FlowTraining, optim: OptimConfig, cond_dim: int, seed: int):
        super().__init__(optim, seed)
        self.flow, self.cond_dim = flow, cond_dim

    def on_fit_start(self) -> None:
        """Fit the codec's statistics on training data, unless a checkpoint brought them."""
        if not self.codec.fitted:
            signals = [batch[self.kind] for batch in self.first_batches(16)]
            self.codec.fit(torch.cat(signals).to(self.device))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the flow's loss on one batch."""
        loss = self.loss(self.codec.encode(batch[self.kind]), batch.get("cond"), self.seeds(batch))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the loss at noise and times that are the same in every validation."""
        batch, count = real_samples(batch)
        loss = self.loss(self.codec.encode(batch[self.kind]), batch.get("cond"), self.seeds(batch))
        self.log("val/loss", loss, prog_bar=True, batch_size=count)

    def loss(
        self,
        x: Float[Tensor, "B T C"],
        cond: Float[Tensor, "B E"] | None,
        seeds: Int[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        """Return the mean squared error of the velocity at random times.

        Tokens whose time is 1 are given: seen clean, with nothing to learn there.
        """
        noise, time = normal(seeds, x.shape[1:]), self.times(seeds)
        keep = uniform(seeds, stream=3) >= self.flow.drop
        cond = cond if cond is None else corrupt(cond, seeds, self.flow.cond_noise)
        each = self.per_token(time)
        output = self.net(interpolate(noise, x, each), time, cond, keep=keep)
        error = flow_loss(output.float(), noise, x, each, self.flow.prediction).mean(dim=-1)
        learnt = (each < 1).expand_as(error)
        return self.mean_over_ranks((error * learnt).sum(), learnt.sum())

    def times(self, seeds: Int[Tensor, "B"]) -> Float[Tensor, "B *M"]:
        """Return training times, one a sample."""
        return self.flow.times.times(seeds)

    def per_token(self, time: Float[Tensor, "B *M"]) -> Float[Tensor, "B T1"]:
        """Return the time of each token, or one for all."""
        return time.reshape(len(time), 1)

    @torch.no_grad()
    def generate(
        self,
        cond: Float[Tensor, "B E"] | None,
        options: FlowOptions = FlowOptions(),
        *,
        seeds: Sequence[int],
    ) -> Tensor:
        """Return one signal a seed, given embeddings of this modality (None: unconditional)."""
        noise = normal(seeds_tensor(seeds, self.device), self.token_shape)
        return self.codec.decode(solve(self.guided_velocity(cond, options), noise, options))

    def guided_velocity(
        self,
        cond: Float[Tensor, "B E"] | None,
        options: FlowOptions,
        known: Bool[Tensor, "M"] | None = None,
    ) -> Velocity:
        """Return the velocity under guidance; without a condition there is nothing to guide."""

        def under(condition: Float[Tensor, "B E"] | None) -> Velocity:
            return lambda x, t: self.velocity(x, t, condition, known)

        return under(None) if cond is None else guided(under(cond), under(None), options)

    def velocity(
        self,
        x: Float[Tensor, "B T C"],
        t: float,
        cond: Float[Tensor, "B E"] | None,
        known: Bool[Tensor, "M"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Return dx/dt at one time; parts that are known stand at time 1 and stay as they are."""
        time = x.new_full((len(x), 1), t)
        if known is not None:
            time = torch.where(known, 1.0, time)
        each = self.per_token(time)
        v = velocity(self.net(x, time, cond), x, each, self.flow.prediction)
        return torch.where(each[..., None] < 1, v, 0.0)

    @property
    def token_shape(self) -> tuple[int, int]:
        """Tokens a signal, channels a token."""
        return len(self.codec.positions), self.codec.channels
