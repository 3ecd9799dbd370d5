"""The video tower: a clip to a point on the unit sphere."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.convolution import conv_stage
from core.jitter import jitter


@dataclass(frozen=True)
class VideoEncoderConfig:
    """Size of the video tower."""

    embedding: int = 64
    """Width of the shared space."""
    width: int = 16
    """Channels of the first stage; the second and third double them."""
    shift: float = 0.03
    """Augmentation in training: largest shift, as a share of the side."""
    size: int = 32
    """Pixels a side of the clips in training; linked from the data."""
    frames: int = 4
    """Frames of the clips in training; linked from the data."""


class VideoEncoder(nn.Module):
    """Convolutions on each frame (what is there), then on pairs of frames (how it moves).

    In training mode all frames of a clip are moved alike, by the clip's seed.
    """

    def __init__(self, config: VideoEncoderConfig = VideoEncoderConfig()):
        super().__init__()
        self.config = config
        w = config.width
        self.frame = nn.Sequential(
            conv_stage(3, w, stride=2),
            conv_stage(w, 2 * w, pool=2),
            conv_stage(2 * w, 4 * w, pool=2),
            conv_stage(4 * w, 4 * w),
        )
        self.across = conv_stage(2 * 4 * w, 4 * w)
        self.head = nn.Linear(2 * 4 * w, config.embedding)

    def forward(
        self, clips: Float[Tensor, "B F 3 H W"], seeds: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B E"]:
        """Return unit-norm embeddings; seeds are needed in training mode only."""
        frames = rearrange(clips, "B F c H W -> (B F) c H W")
        if self.training and seeds is not None:
            frames = jitter(
                frames, repeat(seeds, "B -> (B F)", F=clips.shape[1]), self.config.shift
            )
        h = rearrange(self.frame(frames), "(B F) D h w -> B F D h w", F=clips.shape[1])
        if clips.shape[1] == 1:  # a still: nothing moves from the frame to itself
            h = repeat(h, "B one D h w -> B (two one) D h w", two=2)
        steps = rearrange([h[:, :-1], h[:, 1:]], "two B F D h w -> (B F) (two D) h w")
        moves = rearrange(self.across(steps), "(B F) D h w -> B F D h w", F=h.shape[1] - 1)
        pooled = [reduce(h, "B F D h w -> B D", "max"), reduce(moves, "B F D h w -> B D", "mean")]
        return F.normalize(self.head(torch.cat(pooled, dim=1)), dim=-1)
