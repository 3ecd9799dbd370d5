"""The stage that towers for pictures and clips are stacked from."""

from torch import nn


def conv_stage(inside: int, outside: int, *, stride: int = 1, pool: int = 1) -> nn.Module:
    """Return a 3 x 3 convolution, a pool of maxima, a group norm and a GELU.

    [B inside H W] -> [B outside H' W'], H' = H / (stride * pool).
    """
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False),
        nn.MaxPool2d(pool) if pool > 1 else nn.Identity(),
        nn.GroupNorm(4, outside),
        nn.GELU(),
    )
