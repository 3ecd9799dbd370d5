"""The networks of the readers; none shares an architecture or an input with a tower."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Keep the size, change the channels."""
        inner = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(inner)) + self.shortcut(x))


class ResidualNet(nn.Module):
    """Contrast of a picture to features: three residual stages, halved before each, then a mean."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        stages = [(width, 2 * width), (2 * width, 4 * width), (4 * width, 6 * width)]
        self.stages = nn.ModuleList([Residual(*channels) for channels in stages])
        self.width = 6 * width

    def forward(self, contrast: Float[Tensor, "B H W"]) -> Float[Tensor, "B D"]:
        """Read pictures of any size of 8 pixels or more."""
        x = F.relu(self.stem(rearrange(contrast, "B H W -> B 1 H W")))
        for stage in self.stages:
            x = stage(F.max_pool2d(x, 2))
        return reduce(x, "B D H W -> B D", "mean")


class PooledNet(nn.Module):
    """Contrast of a 32x32 frame to features: 5x5 convolutions, max pooling, one dense layer.

    A LeNet (LeCun et al. 1998) with batch norms: unlike the residual one it keeps places apart.
    """

    def __init__(self, width: int = 16, features: int = 96):
        super().__init__()
        channels = [1, width, 2 * width, 3 * width]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 5, padding=2), nn.BatchNorm2d(outputs)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        dense = [nn.Flatten(), nn.Dropout(0.1), nn.Linear(16 * 3 * width, features), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *dense)
        self.width = features

    def forward(self, contrast: Float[Tensor, "B H W"]) -> Float[Tensor, "B D"]:
        """Read frames of 32x32 pixels."""
        return self.layers(rearrange(contrast, "B H W -> B 1 H W"))


class SpectrogramNet(nn.Module):
    """Log spectrogram to features: 1-D convolutions over time, pooled by learned attention."""

    def __init__(self, bins: int, width: int = 112, depth: int = 3, queries: int = 2):
        super().__init__()
        self.stem = nn.Conv1d(bins, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList([nn.Conv1d(width, width, 5, padding=2) for _ in range(depth)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for _ in range(depth + 1)])
        self.dropout = nn.Dropout(0.05)
        self.attention = nn.Conv1d(width, queries, 1)
        self.width = width * queries

    def forward(self, spectrogram: Float[Tensor, "B K T"]) -> Float[Tensor, "B D"]:
        """One weighted mean over time a query: where the digit is said, and where the colour."""
        x = F.relu(self.norms[0](self.stem(spectrogram)))
        for block, norm in zip(self.blocks, self.norms[1:], strict=True):
            x = x + F.relu(norm(block(self.dropout(x))))
        weights_BQT = self.attention(x).softmax(-1)
        return rearrange(torch.einsum("BQT,BDT->BQD", weights_BQT, x), "B Q D -> B (Q D)")
