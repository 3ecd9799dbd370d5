"""Claims about the text model."""

import math

import pytest
import torch
import torch.nn.functional as F

from text.model import TextConfig, TextModel

SMALL = TextConfig(width=32, depth=2, heads=2, context=16, vocabulary=50, prefix=3)


def model(cond_dim: int = 8) -> TextModel:
    """Return a small model whose zero-initialised parts are random too."""
    torch.manual_seed(0)
    network = TextModel(SMALL, cond_dim)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def conditions(count: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 8), dim=-1)


def test_the_loss_at_initialisation_is_log_vocabulary():
    network = TextModel(SMALL, 8)
    ids = torch.randint(50, (4, 10))
    loss = F.cross_entropy(network(ids, conditions(4)).flatten(0, 1), ids.flatten())
    assert loss.item() == pytest.approx(math.log(50), rel=1e-5)


def test_only_the_text_gets_logits():
    assert model()(torch.randint(50, (2, 7)), conditions(2)).shape == (2, 7, 50)


def test_logits_do_not_see_later_tokens():
    network, ids = model(), torch.randint(50, (2, 9))
    changed = ids.clone()
    changed[:, 5:] = 0
    before, after = network(ids), network(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("told", [True, False])
def test_cached_logits_equal_recomputed_ones(told: bool):
    network, ids = model(), torch.randint(50, (3, 12))
    cond = conditions(3) if told else None
    caches = network.begin(network.prefix(cond, 3), length=12)
    stepped = torch.stack([network.step(column, caches) for column in ids.T], dim=1)
    torch.testing.assert_close(stepped, network(ids, cond), rtol=1e-4, atol=1e-4)


def test_a_dropped_condition_is_the_unconditional_case():
    network, ids, cond = model(), torch.randint(50, (2, 5)), conditions(2)
    logits = network(ids, cond, keep=torch.tensor([True, False]))
    torch.testing.assert_close(logits[0], network(ids, cond)[0])
    torch.testing.assert_close(logits[1], network(ids)[1])


def test_the_condition_matters():
    network, ids = model(), torch.randint(50, (2, 5))
    assert not torch.allclose(network(ids, conditions(2)), network(ids))


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"prefix": -1}, {"context": 2}])
def test_nonsense_shapes_are_errors(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TextConfig(**wrong)


@pytest.mark.parametrize("layout", ["unison", "gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("mlp", ["relu2", "swiglu", "gelu"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_family_starts_at_log_vocabulary_and_is_causal(layout, mlp, tied):
    config = TextConfig(
        width=32, depth=2, heads=4, kv_heads=2, context=16, vocabulary=50, prefix=0,
        mlp=mlp, layout=layout, tied=tied, softcap=15.0,
    )  # fmt: skip
    network, ids = TextModel(config), torch.randint(50, (2, 9))
    loss = F.cross_entropy(network(ids).flatten(0, 1), ids.flatten())
    assert loss.item() == pytest.approx(math.log(50), rel=1e-5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    changed = ids.clone()
    changed[:, 5:] = 0
    torch.testing.assert_close(network(ids)[:, :5], network(changed)[:, :5])
    caches = network.begin(network.prefix(None, 2), length=9)
    read = torch.cat([network.read(part, caches) for part in ids.split([4, 1, 4], 1)], dim=1)
    torch.testing.assert_close(read, network(ids), rtol=1e-4, atol=1e-4)


def test_documents_kept_apart_are_as_if_alone():
    config = TextConfig(width=32, depth=2, heads=2, context=16, vocabulary=50, prefix=0)
    network, ids = TextModel(config), torch.randint(50, (1, 9))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    both = network(ids, documents=torch.tensor([[0] * 4 + [1] * 5]))
    torch.testing.assert_close(both[:, :4], network(ids[:, :4]))
    # Rotary positions tell differences only, so that the second may start anywhere.
    torch.testing.assert_close(both[:, 4:], network(ids[:, 4:]), rtol=1e-4, atol=1e-4)


def test_the_softcap_bounds_the_logits():
    config = TextConfig(width=32, depth=1, heads=2, context=16, vocabulary=50, softcap=2.0)
    network = TextModel(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=3)
    assert network(torch.randint(50, (2, 7))).abs().max() <= 2


@pytest.mark.parametrize(
    "wrong", [{"kv_heads": 3}, {"heads": 3}, {"softcap": 0.0}, {"head_width": 7}, {"hidden": 0}]
)
def test_parts_that_do_not_fit_are_errors(wrong: dict):
    with pytest.raises(ValueError, match=r"must be"):
        TextConfig(**wrong)


def test_a_condition_needs_a_prefix():
    with pytest.raises(ValueError, match="prefix is 0"):
        TextModel(TextConfig(prefix=0), cond_dim=8)
