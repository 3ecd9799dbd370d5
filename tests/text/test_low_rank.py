"""Claims about low-rank adapters."""

import pytest
import torch

from text.low_rank import AdaptedLinear, LoRA, adapt, adapted_maps, merge, part_sizes
from text.model import TextConfig, TextModel

CONFIGS = {
    "unison": TextConfig(16, 2, 4, context=12, vocabulary=20, prefix=0),
    "qwen3": TextConfig(
        16, 2, 4, context=12, vocabulary=20, prefix=0, layout="qwen3", mlp="swiglu", kv_heads=2,
        head_width=6, tied=False,
    ),
    "gpt2": TextConfig(16, 2, 4, context=12, vocabulary=20, prefix=0, layout="gpt2", mlp="gelu"),
}  # fmt: skip
IDS = torch.arange(24).view(2, 12) % 20


def filled(model: TextModel) -> TextModel:
    """Give every weight a value: half of them start at zero."""
    torch.manual_seed(0)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return model


@pytest.fixture(params=CONFIGS)
def model(request) -> TextModel:
    return filled(TextModel(CONFIGS[request.param]))


def test_at_first_an_adapted_model_is_its_base_to_the_last_bit(model):
    before = model(IDS)
    adapt(model, LoRA(rank=3))
    assert torch.equal(model(IDS), before)


def test_only_adapters_learn_and_each_of_them_does(model):
    adapt(model, LoRA(rank=3))
    filled(model)
    model(IDS).square().mean().backward()
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if ".adapters." in name}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters()
               if p.requires_grad)  # fmt: skip
    parts = sum(len(parts) for parts in part_sizes(model.config).values())
    assert len(learning) == 2 * parts * model.config.depth


def test_the_weights_of_the_base_keep_their_names(model):
    base = model.state_dict().keys()
    adapt(model, LoRA())
    assert {name for name in model.state_dict() if ".adapters." not in name} == base


def test_a_merged_model_computes_the_same_and_has_the_names_of_its_base(model):
    base = model.state_dict().keys()
    adapt(model, LoRA(rank=3, alpha=5.0))
    filled(model)
    adapted = model(IDS)
    merge(model)
    torch.testing.assert_close(model(IDS), adapted, rtol=1e-4, atol=1e-4)
    assert model.state_dict().keys() == base
    assert not list(adapted_maps(model))
    assert all(p.requires_grad for p in model.parameters())


def test_an_adapter_adds_its_product_times_alpha_over_rank_to_its_part_alone():
    plain = torch.nn.Linear(5, 7, bias=False)
    lora = LoRA(rank=2, alpha=6.0, targets=("k",))
    adapted = AdaptedLinear(plain, {"q": 3, "k": 2, "v": 2}, lora)
    torch.nn.init.normal_(adapted.adapters["k"].up)
    x = torch.randn(4, 5)
    added = adapted(x) - plain(x)
    expected = 6 / 2 * x @ (adapted.adapters["k"].up @ adapted.adapters["k"].down).T
    torch.testing.assert_close(added[:, 3:5], expected, rtol=1e-4, atol=1e-5)
    assert not added[:, :3].any()
    assert not added[:, 5:].any()


def test_only_the_parts_that_are_named_are_adapted():
    model = TextModel(CONFIGS["qwen3"])
    adapt(model, LoRA(targets=("q", "v", "gate")))
    found = {(name.partition(".adapters.")[0].rpartition(".")[2], name.split(".adapters.")[1][0])
             for name in model.state_dict() if ".adapters." in name}  # fmt: skip
    assert found == {("qkv", "q"), ("qkv", "v"), ("up", "g")}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"targets": ()}, "targets is empty"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        LoRA(**options)


def test_a_part_that_a_model_has_not_is_refused():
    with pytest.raises(ValueError, match=r"targets has gate but a block.*relu2"):
        adapt(TextModel(CONFIGS["unison"]), LoRA(targets=("q", "gate")))
