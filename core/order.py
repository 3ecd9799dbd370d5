"""The order of samples in an epoch and each rank's share of it: pure functions."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Int64


def epoch_order(
    sizes: Sequence[int], seed: int, epoch: int, window: int
) -> Int64[np.ndarray, " N"]:
    """A permutation of all samples: shards are permuted, then samples within windows of shards.

    Args:
        sizes: Samples of each shard.
        window: Samples that are permuted together; larger mixes better, smaller reads more locally.
    """
    generator = np.random.default_rng((seed, epoch))
    starts = [0, *accumulate(sizes)]
    shards = generator.permutation(len(sizes)).tolist()
    order = np.concatenate([np.arange(starts[i], starts[i + 1], dtype=np.int64) for i in shards])
    for start in range(0, len(order), window):
        generator.shuffle(order[start : start + window])
    return order


def training_batches(
    order: Int64[np.ndarray, " N"], batch_size: int, rank: int, world: int
) -> Int64[np.ndarray, "batches B"]:
    """One rank's batches; a tail that fills no global batch is dropped (another each epoch)."""
    batches = len(order) // (batch_size * world)
    whole = order[: batches * batch_size * world]
    return rearrange(whole, "(n rank B) -> rank n B", n=batches, rank=world, B=batch_size)[rank]


def evaluation_batches(
    count: int, batch_size: int, rank: int, world: int
) -> tuple[Int64[np.ndarray, "batches B"], Bool[np.ndarray, "batches B"]]:
    """One rank's batches in order and their mask: padding (False) repeats the last sample."""
    batches = -(-count // (batch_size * world))
    places = np.arange(batches * batch_size * world, dtype=np.int64)
    share = rearrange(places, "(n rank B) -> rank n B", n=batches, rank=world, B=batch_size)[rank]
    return share.clip(max=count - 1), share < count
