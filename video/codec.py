"""Clips as patches of pixels, frame by frame."""

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.errors import UserError
from core.patches import Patches


class ClipCodec(nn.Module):
    """Cuts each frame into square patches; positions are (t, y, x), time slowest.

    The frame's codec has the names of an image codec, so an image model's basis loads into it.
    """

    positions: Int[Tensor, "T 3"]

    def __init__(self, frames: int, size: int, patch: int, components: int | None = None):
        super().__init__()
        self.frames, self.plane = frames, Patches(size, patch, components)
        yx = self.plane.positions
        t = torch.arange(frames)
        positions = torch.cat(
            [repeat(t, "F -> (F T) 1", T=len(yx)), repeat(yx, "T A -> (F T) A", F=frames)], dim=1
        )
        self.register_buffer("positions", positions, persistent=False)

    @property
    def channels(self) -> int:
        """Values a token."""
        return self.plane.channels

    @property
    def fitted(self) -> Tensor:
        """Whether the statistics were fitted."""
        return self.plane.fitted

    def fit(self, clips: Float[Tensor, "B F 3 H W"]) -> None:
        """Take the patches' principal components from training clips."""
        self.plane.fit(rearrange(clips, "B F c H W -> (B F) c H W"))

    def encode(self, clips: Float[Tensor, "B F 3 H W"]) -> Float[Tensor, "B T C"]:
        """Return tokens, frame after frame."""
        if clips.shape[1] != self.frames:
            raise UserError(
                f"the clip has {clips.shape[1]} frames but the model expects {self.frames};"
                f" rebuild with: python -m video.shards --frames {self.frames}"
            )
        tokens = self.plane.encode(rearrange(clips, "B F c H W -> (B F) c H W"))
        return rearrange(tokens, "(B F) T C -> B (F T) C", F=self.frames)

    def decode(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B F 3 H W"]:
        """Return clips, clipped to [-1, 1]."""
        planes = self.plane.decode(rearrange(tokens, "B (F T) C -> (B F) T C", F=self.frames))
        return rearrange(planes, "(B F) c H W -> B F c H W", F=self.frames)
