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
    width: int = 24
    """Channels of the first stage; each of three stages doubles them."""
    shift: float = 0.03
    """Augmentation in training: largest shift, as a share of the side."""


class VideoEncoder(nn.Module):
    """Strided convolutions on each frame, then along time, averaged over place and time.

    In training mode all frames of a clip are moved alike, by the clip's seed.
    """

    def __init__(self, config: VideoEncoderConfig = VideoEncoderConfig()):
        super().__init__()
        self.config = config
        w = config.width
        self.frame = nn.Sequential(
            conv_stage(3, w, stride=2), conv_stage(w, 2 * w, stride=2), conv_stage(2 * w, 2 * w),
            conv_stage(2 * w, 4 * w, stride=2), conv_stage(4 * w, 4 * w),
        )  # fmt: skip
        self.across = nn.Sequential(
            nn.Conv3d(4 * w, 4 * w, (3, 3, 3), padding=(0, 1, 1), bias=False),
            nn.GroupNorm(4, 4 * w),
            nn.GELU(),
        )
        self.head = nn.Linear(4 * 4 * w, config.embedding)

    def forward(
        self, clips: Float[Tensor, "B F 3 H W"], seeds: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B E"]:
        """Return unit-norm embeddings; seeds are needed in training mode only."""
        frames = rearrange(clips, "B F c H W -> (B F) c H W")
        if self.training and seeds is not None:
            frames = jitter(frames, repeat(seeds, "B -> (B F)", F=clips.shape[1]), self.config.shift)
        looks = rearrange(self.frame(frames), "(B F) D h w -> B D F h w", F=clips.shape[1])
        moves = self.across(looks)
        pooled = [reduce(h, "B D F h w -> B D", r) for h in (looks, moves) for r in ("mean", "max")]
        return F.normalize(self.head(torch.cat(pooled, dim=1)), dim=-1)
