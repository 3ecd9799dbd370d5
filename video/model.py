"""The video network: the image network on each frame, and attention across frames."""

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.attention import Attention, rotary_angles
from core.denoiser import Denoiser, DenoiserConfig, unit_entries
from core.errors import UserError
from video.codec import ClipCodec


@dataclass(frozen=True)
class VideoConfig:
    """Size of the clip and of the network."""

    frames: int = 4
    """Frames a clip; linked from the data."""
    size: int = 32
    """Pixels a side; linked from the data."""
    patch: int = 8
    """Pixels a side of one token."""
    components: int | None = 64
    """Principal components kept of each patch's pixels; None keeps all."""
    net: DenoiserConfig = DenoiserConfig()
    """The transformer; with an image model's sizes its weights can start from that."""
    every: int = 2
    """Attention across frames follows the first block, and then every so many."""

    def __post_init__(self):
        if self.frames < 1:
            raise UserError(f"frames is {self.frames} but a clip has at least 1")
        if self.every < 1:
            raise UserError(f"every is {self.every} but must be 1 or more blocks")
        if self.size < 1 or self.patch < 1:
            raise UserError(f"size {self.size} and patch {self.patch} must be 1 pixel or more")


class VideoDenoiser(nn.Module):
    """A frame denoiser with attention over all tokens of the clip after some of its blocks.

    The added attention's output projections start at zero, so at initialisation the network *is*
    the frame network on each frame. Every frame has its own time: a frame at time 1 is given.
    Attention across frames looks at all places (t, y, x), not only the same place in other frames:
    a digit leaves its patch between two frames.

    Rotary positions tell differences of time only, but which way a digit moves is a matter of which
    frame comes first. So attention across frames sees each frame's number, and each frame reads the
    condition through a map of its own, which starts at zero and is added to the image model's.
    """

    positions: Int[Tensor, "T 3"]

    def __init__(self, config: VideoConfig, codec: ClipCodec, cond_dim: int):
        super().__init__()
        net = config.net
        self.frames, self.head_width = config.frames, net.width // net.heads
        self.register_buffer("positions", codec.positions, persistent=False)
        self.plane = Denoiser(net, codec.channels, codec.plane.positions, cond_dim)
        self.number = nn.Parameter(0.5 * torch.randn(config.frames, 1, net.width))
        self.moment = None
        if cond_dim:
            self.moment = nn.Linear(cond_dim, config.frames * net.width, bias=False)
            nn.init.zeros_(self.moment.weight)
        self.every, mixers = config.every, len(range(0, net.depth, config.every))
        self.norms = nn.ModuleList(nn.RMSNorm(net.width) for _ in range(mixers))
        self.mixers = nn.ModuleList(Attention(net.width, net.heads) for _ in range(mixers))

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        time: Float[Tensor, "B *M"],
        cond: Float[Tensor, "B E"] | None,
        *,
        keep: Bool[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Return the raw prediction; `time` is one a sample or one a frame."""
        frames, plane = self.frames, self.plane
        time = rearrange(time.reshape(len(x), -1).expand(-1, frames), "B F -> (B F)")
        moments = self._moments(cond, keep)
        cond, keep = _each_frame(cond, frames), _each_frame(keep, frames)
        context = plane.context(time, cond, keep=keep, more=moments)
        inside = rotary_angles(plane.positions, self.head_width)
        across = rotary_angles(self.positions, self.head_width)
        h = plane.read(rearrange(x, "B (F T) C -> (B F) T C", F=frames)) + plane.place
        number = repeat(self.number, "F one D -> (B F) one D", B=len(x))
        for i, block in enumerate(plane.blocks):
            h = block(h, context, inside)
            if i % self.every == 0:
                norm, mixer = self.norms[i // self.every], self.mixers[i // self.every]
                clip = rearrange(norm(h) + number, "(B F) T D -> B (F T) D", F=frames)
                h = h + rearrange(mixer(clip, across), "B (F T) D -> (B F) T D", F=frames)
        return rearrange(plane.write(h, context), "(B F) T C -> B (F T) C", F=frames)

    def _moments(
        self, cond: Float[Tensor, "B E"] | None, keep: Bool[Tensor, "B"] | None
    ) -> Float[Tensor, "BF D"] | None:
        """Return what each frame reads from the condition beyond what the image model reads."""
        if cond is None or self.moment is None:
            return None
        moments = self.moment(unit_entries(cond))
        if keep is not None:
            moments = moments * keep[:, None]
        return rearrange(moments, "B (F D) -> (B F) D", F=self.frames)


def build(config: VideoConfig, cond_dim: int) -> tuple[ClipCodec, VideoDenoiser]:
    """Return the codec and the network that reads its tokens."""
    codec = ClipCodec(config.frames, config.size, config.patch, config.components)
    return codec, VideoDenoiser(config, codec, cond_dim)


def _each_frame(values: Tensor | None, frames: int) -> Tensor | None:
    return None if values is None else repeat(values, "B ... -> (B F) ...", F=frames)
