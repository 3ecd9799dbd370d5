import pytest
import torch
from torch import nn
from torch.testing import assert_close

from core.optim import (
    AdamW,
    Muon,
    MuonWithAdamW,
    OptimConfig,
    Schedule,
    build_optimiser,
    orthogonalise,
)


def test_orthogonalised_matrices_have_singular_values_near_one():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, 16, 40)))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_orthogonalisation_keeps_the_singular_vectors():
    torch.manual_seed(0)
    g = torch.randn(1, 8, 8)
    u, _, v = torch.linalg.svd(g)
    turned = u.mT @ orthogonalise(g) @ v.mT
    off = turned - torch.diag_embed(torch.diagonal(turned, dim1=1, dim2=2))
    assert off.abs().max() < 1e-4


def test_our_adamw_equals_torchs():
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    rule = AdamW(lr=0.01, weight_decay=0.1)
    a = MuonWithAdamW(list(ours.named_parameters()), Muon(other=rule))
    groups = [{"params": [theirs.weight]}, {"params": [theirs.bias], "weight_decay": 0.0}]
    b = torch.optim.AdamW(groups, lr=0.01, betas=rule.betas, weight_decay=0.1)
    for _ in range(5):
        x = torch.randn(8, 4)
        for net, optimiser in ((ours, a), (theirs, b)):
            optimiser.zero_grad()
            net(x).square().sum().backward()
            optimiser.step()
    assert_close(ours.weight, theirs.weight)
    assert_close(ours.bias, theirs.bias)


@pytest.mark.parametrize("rule", [AdamW(), Muon()])
def test_every_rule_lowers_a_loss(rule):
    torch.manual_seed(0)
    net = nn.ModuleDict({"blocks": nn.Linear(8, 8), "head": nn.Linear(8, 1)})
    built = build_optimiser(net, OptimConfig(rule), 50)
    x, y = torch.randn(64, 8), torch.randn(64, 1)
    losses = []
    for _ in range(50):
        loss = (net["head"](net["blocks"](x)) - y).square().mean()
        losses.append(float(loss))
        built["optimizer"].zero_grad()
        loss.backward()
        built["optimizer"].step()
        built["lr_scheduler"]["scheduler"].step()
    assert losses[-1] < 0.8 * losses[0]


def test_the_schedule_rises_stays_and_falls():
    schedule = Schedule(warmup=0.1, decay=0.5)
    factors = [schedule.factor(step, 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:50] == [1.0] * 40
    assert factors[75] == pytest.approx(0.5)
    assert factors[100] == 0
