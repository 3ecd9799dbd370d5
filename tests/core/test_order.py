"""Claims about the order of an epoch and its split among ranks."""

import numpy as np
import pytest

from core.order import epoch_order, evaluation_batches, training_batches

SIZE, BATCH = 50, 4


@pytest.mark.parametrize("window", [7, 50, 4096])
def test_an_epoch_is_a_permutation_and_no_two_epochs_are_alike(window):
    orders = [epoch_order([13, 13, 13, 11], seed=0, epoch=e, window=window) for e in range(4)]
    assert all(sorted(order) == list(range(SIZE)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    first, again, other = (epoch_order([20, 30], seed, 3, 16) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_window_of_one_only_permutes_shards():
    order = epoch_order([10] * 5, seed=0, epoch=0, window=1).reshape(5, 10)
    assert (np.diff(order) == 1).all()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_partition_an_epoch_into_equal_batches(world):
    order = epoch_order([SIZE], 0, 0, 64)
    shares = [training_batches(order, BATCH, rank, world) for rank in range(world)]
    seen = np.concatenate(shares).flatten().tolist()
    assert len({share.shape for share in shares}) == 1
    assert len(set(seen)) == len(seen) == SIZE // (BATCH * world) * BATCH * world


def test_a_global_batch_holds_the_same_samples_on_any_number_of_ranks():
    order = epoch_order([SIZE], 0, 0, 64)
    one = training_batches(order, 12, 0, 1)
    three = np.concatenate([training_batches(order, 4, rank, 3) for rank in range(3)], axis=1)
    assert np.array_equal(one, three)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_covers_each_sample_once_and_masks_the_padding(world):
    shares = [evaluation_batches(10, BATCH, rank, world) for rank in range(world)]
    assert len({places.shape for places, _ in shares}) == 1
    assert sorted(np.concatenate([p[m] for p, m in shares]).tolist()) == list(range(10))
