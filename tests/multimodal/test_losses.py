import math

import pytest
import torch
import torch.nn.functional as F
from open_clip import ClipLoss
from torch.testing import assert_close

from multimodal.losses import info_nce


def pairs(batch=7, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, batch, width, generator=generator, dtype=torch.float64)
    a, b = F.normalize(rows, dim=-1)
    return a.requires_grad_(), b.requires_grad_()


def test_info_nce_and_its_gradient_equal_open_clips():
    scale = torch.tensor(14.0, dtype=torch.float64, requires_grad=True)
    results = []
    for loss in (info_nce, ClipLoss()):
        inputs = (*pairs(), scale)
        value = loss(*inputs)
        results.append((value, *torch.autograd.grad(value, inputs)))
    ours, theirs = results
    assert_close(ours, theirs)


def test_info_nce_of_indistinguishable_pairs_is_log_batch_size():
    same = F.normalize(torch.ones(9, 4), dim=-1)
    assert float(info_nce(same, same, 20.0)) == pytest.approx(math.log(9))


def test_info_nce_of_perfect_alignment_vanishes_as_the_scale_grows():
    losses = [float(info_nce(torch.eye(6), torch.eye(6), scale)) for scale in (1.0, 10.0, 100.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(math.log(1 + 5 / math.e))
    assert losses[-1] < 1e-6


def test_info_nce_does_not_depend_on_which_side_comes_first():
    a, b = pairs()
    assert_close(info_nce(a, b, 10.0), info_nce(b, a, 10.0))


def test_info_nce_does_not_depend_on_the_order_of_pairs():
    a, b = pairs()
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(1))
    assert_close(info_nce(a[order], b[order], 10.0), info_nce(a, b, 10.0))
