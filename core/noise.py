"""Counter-based noise: a pure function of one integer seed a sample.

Training noise must not depend on rank, worker, accumulation or on how often a run was resumed, and
a generated sample must not depend on its neighbours in the batch. So nothing is drawn from a
stateful generator: each value is a hash of (seed, stream, position).

Source: Steele et al. 2014 (SplitMix64) for the hash; Salmon et al. 2011 for the idea.
"""

import math
from collections.abc import Sequence
from zlib import crc32

import torch
from jaxtyping import Float, Int
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def mix(*keys: int | Int[Tensor, "*_"]) -> Int[Tensor, "*_"]:
    """Hash integers and integer tensors (broadcast together) into one seed each."""
    state = torch.zeros((), dtype=torch.int64)
    for key in keys:
        key = torch.as_tensor(key, dtype=torch.int64)
        state = _splitmix(state.to(key.device) + key)
    return state


def seeds_tensor(seeds: Sequence[int], device: torch.device | str = "cpu") -> Int[Tensor, "B"]:
    """Return the seeds of a batch, spread over 64 bits."""
    return mix(torch.tensor(list(seeds), dtype=torch.int64)).to(device)


def seeds_for(seeds: Int[Tensor, "B"], user: str) -> Int[Tensor, "B"]:
    """Return the seeds of one user of a sample's randomness, such as a modality, by its name.

    Two users that draw from the same stream with the same seeds draw the same numbers: an image and
    a video tower would turn and slant a sample's picture and clip alike, which links the two.
    """
    return mix(seeds, crc32(user.encode()))


def uniform(
    seeds: Int[Tensor, "B"], shape: Sequence[int] = (), *, stream: int = 0
) -> Float[Tensor, "B *_"]:
    """Draw from (0, 1), `shape` values a seed; another stream is independent."""
    return (_bits(seeds, shape, stream).to(torch.float32) + 0.5) * 2.0**-23  # exact: 24 bits


def uniform_streams(seeds: Int[Tensor, "B"], first: int, count: int) -> Float[Tensor, "S B"]:
    """Draw what `uniform` gives of `count` streams, one value a seed, in a fraction of the time."""
    streams = torch.arange(first, first + count, device=seeds.device)[:, None]
    bits = _shift_right(_splitmix(mix(seeds, streams) + _GOLDEN), 41)
    return (bits.to(torch.float32) + 0.5) * 2.0**-23


def normal(
    seeds: Int[Tensor, "B"], shape: Sequence[int] = (), *, stream: int = 0
) -> Float[Tensor, "B *_"]:
    """Draw from N(0, 1), `shape` values a seed, by Box and Muller."""
    count = max(1, math.prod(shape))
    half = (count + 1) // 2
    u = uniform(seeds, (2, half), stream=stream)
    radius, angle = (-2 * u[:, 0].log()).sqrt(), 2 * math.pi * u[:, 1]
    both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
    return both[:, :count].reshape(len(seeds), *shape)


def integers(seeds: Int[Tensor, "B"], high: int, *, stream: int = 0) -> Int[Tensor, "B"]:
    """Draw one integer a seed from 0 .. high - 1."""
    return (uniform(seeds, stream=stream) * high).long().clamp_(max=high - 1)


def _bits(seeds: Int[Tensor, "B"], shape: Sequence[int], stream: int) -> Int[Tensor, "B *_"]:
    count = max(1, math.prod(shape))
    start = mix(seeds, stream)
    counter = torch.arange(1, count + 1, device=seeds.device) * _GOLDEN
    return _shift_right(_splitmix(start[:, None] + counter), 41).reshape(len(seeds), *shape)


def _splitmix(z: Int[Tensor, "*_"]) -> Int[Tensor, "*_"]:
    z = z + _GOLDEN
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def _shift_right(z: Int[Tensor, "*_"], bits: int) -> Int[Tensor, "*_"]:
    """Shift in zeros: torch's own shift of a signed integer copies the sign bit."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
