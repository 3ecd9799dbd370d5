"""Training of the video flow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.checkpoint import read_checkpoint
from core.errors import UserError
from core.flow import LogitNormal, interpolate
from core.flow_module import FlowModule, FlowTraining
from core.noise import normal, seeds_tensor, uniform
from core.optim import OptimConfig
from core.sampling import FlowOptions, Velocity, solve
from video.files import write_animation
from video.model import VideoConfig, build

FRAME_GUIDANCE = 0.5
"""How far a given first frame's effect is drawn out: the background errs less (LOG.md)."""


class VideoModule(FlowModule):
    """Flow matching on clips, conditioned on video embeddings; some frames may be given."""

    kind = "video"

    def __init__(
        self,
        model: VideoConfig = VideoConfig(),
        flow: FlowTraining = FlowTraining(prediction="x", times=LogitNormal(-1.25, 1.0)),
        optim: OptimConfig = OptimConfig(),
        given: float = 0.25,
        image_checkpoint: str | None = None,
        cond_dim: int = 0,
        seed: int = 0,
    ):
        """Build the codec and the network.

        Args:
            model: Clip and network sizes.
            flow: What the flow is trained on.
            optim: Optimiser and schedule.
            given: Share of training clips that have given frames: the first, or a random subset.
            image_checkpoint: An image model of the same sizes, whose weights the frames start from.
            cond_dim: Width of the condition; 0 trains an unconditional model. Linked from the data.
            seed: Seed of noise and times; linked from --seed_everything.
        """
        super().__init__(flow, optim, cond_dim, seed)
        if not 0 <= given < 1:
            raise UserError(f"given is {given} but must be a share from 0 to below 1")
        self.save_hyperparameters(ignore="image_checkpoint", logger=False)
        self.given = given
        self.codec, self.net = build(model, cond_dim)
        if image_checkpoint:
            self.copy_image(image_checkpoint)

    def copy_image(self, image_checkpoint: str) -> None:
        """Copy an image model's averaged weights and statistics into the frames' network."""
        checkpoint = read_checkpoint(image_checkpoint, "image")
        weights = checkpoint["state_dict"] | checkpoint.get("ema", {})
        renamed = {name.replace(".", ".plane.", 1): value for name, value in weights.items()}
        own = self.state_dict()
        wrong = [k for k, v in renamed.items() if k not in own or own[k].shape != v.shape]
        if wrong:
            raise UserError(
                f"{image_checkpoint} does not fit the video network at {wrong[0]};"
                " give both the same model.net, size, patch and embeddings"
            )
        self.load_state_dict(renamed, strict=False)

    def times(self, seeds: Int[Tensor, "B"]) -> Float[Tensor, "B F"]:
        """Return one time a frame: shared by the clip, but 1 for given frames."""
        frames = self.net.frames
        time = repeat(self.flow.times.times(seeds), "B -> B F", F=frames)
        return torch.where(given_frames(seeds, frames, self.given), 1.0, time)

    def per_token(self, time: Float[Tensor, "B M"]) -> Float[Tensor, "B T"]:
        """Repeat each frame's time, or the clip's, for its tokens."""
        time = time.expand(-1, self.net.frames)
        return repeat(time, "B F -> B (F T)", T=len(self.codec.plane.positions))

    @torch.no_grad()
    def generate(
        self,
        cond: Float[Tensor, "B E"] | None,
        options: FlowOptions = FlowOptions(),
        *,
        seeds: Sequence[int],
        first_frame: Float[Tensor, "B 3 H W"] | None = None,
    ) -> Float[Tensor, "B F 3 H W"]:
        """Return one clip a seed; with `first_frame` the clip begins with it and goes on."""
        if first_frame is None:
            return super().generate(cond, options, seeds=seeds)
        noise = normal(seeds_tensor(seeds, self.device), self.token_shape)
        tokens = self.codec.plane.encode(first_frame.to(self.device))
        start = torch.cat([tokens, noise[:, tokens.shape[1] :]], dim=1)
        slope = self.going_on(cond, options, tokens, noise[:, : tokens.shape[1]])
        clips = self.codec.decode(solve(slope, start, options))
        clips[:, 0] = first_frame  # not the codec's approximation of it
        return clips

    def going_on(
        self,
        cond: Float[Tensor, "B E"] | None,
        options: FlowOptions,
        tokens: Float[Tensor, "B T C"],
        noise: Float[Tensor, "B T C"],
    ) -> Velocity:
        """Return the velocity of clips that go on from a first frame, guided by it besides.

        What the frame changes is its velocity less that of a clip whose first frame is as noisy as
        the others. Source: Song et al. 2025 (history guidance).
        """
        known = torch.zeros(self.net.frames, dtype=torch.bool, device=self.device)
        known[0] = True
        guided, first = self.guided_velocity(cond, options, known), tokens.shape[1]

        def velocity(x: Float[Tensor, "B T2 C"], t: float) -> Float[Tensor, "B T2 C"]:
            noisy = torch.cat([interpolate(noise, tokens, _at(t, x)), x[:, first:]], dim=1)
            change = self.velocity(x, t, cond, known) - self.velocity(noisy, t, cond)
            change[:, :first] = 0  # it stays as it is
            return guided(x, t) + FRAME_GUIDANCE * change

        return velocity

    def write_samples(self, stem: Path, batch: dict[str, Any]) -> None:
        """Write an animation: real clips above, samples from their embeddings below."""
        real, cond = batch["video"][:8], batch.get("cond")
        cond = cond if cond is None else cond[:8]
        drawn = self.generate(cond, FlowOptions(), seeds=range(len(real)))
        rows = [torch.cat(list(clips), dim=3) for clips in (real, drawn)]
        write_animation(stem.with_suffix(".webp"), torch.cat(rows, dim=2), upscale=2)


def given_frames(seeds: Int[Tensor, "B"], frames: int, share: float) -> Bool[Tensor, "B F"]:
    """Draw which frames are given: in `share` of the clips the first, or a random proper subset."""
    u = uniform(seeds, (3 + frames,), stream=5)
    some, only_first = u[:, 0] < share, u[:, 1] < 0.5
    first = torch.arange(frames, device=seeds.device) == 0
    random = u[:, 3:] < 0.5
    random = random & ~random.all(dim=1, keepdim=True)
    return some[:, None] & torch.where(only_first[:, None], first, random)


def _at(t: float, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B 1"]:
    return x.new_full((len(x), 1), t)
