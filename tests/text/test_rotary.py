"""Claims about rotary frequencies: they are those of transformers, stretched or not."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from core.attention import rotary_angles
from text.attention import Rotation
from text.model import TextConfig, TextModel
from text.rotary import LinearStretch, Llama3Stretch, rotary_frequencies


def config(**rope) -> LlamaConfig:
    parameters = {"rope_theta": 500000.0} | rope
    return LlamaConfig(hidden_size=128, num_attention_heads=1, rope_parameters=parameters)


@pytest.mark.parametrize("base", [100.0, 10000.0, 500000.0, 1e6])
@pytest.mark.parametrize("width", [6, 64, 128])
def test_frequencies_are_those_of_transformers_to_the_last_bit(base, width):
    theirs = LlamaRotaryEmbedding(
        LlamaConfig(head_dim=width, rope_parameters={"rope_type": "default", "rope_theta": base})
    )
    assert torch.equal(rotary_frequencies(width, base), theirs.inv_freq)


def test_stretched_frequencies_are_those_of_transformers():
    llama3 = {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    linear = {"rope_type": "linear", "factor": 4.0}
    stretches = {"llama3": Llama3Stretch(32.0, 1.0, 4.0, 8192), "linear": LinearStretch(4.0)}
    for rope in (llama3, linear):
        kind = rope["rope_type"]
        wanted, _ = ROPE_INIT_FUNCTIONS[kind](config(**rope), torch.device("cpu"))
        ours = rotary_frequencies(128, 500000.0, stretches[kind])
        torch.testing.assert_close(ours, wanted, rtol=1e-6, atol=0)


def test_without_a_stretch_they_are_those_of_the_other_modalities():
    angles = rotary_angles(torch.arange(50)[:, None], 16, base=100.0)
    ours = torch.arange(50)[:, None] * rotary_frequencies(16, 100.0)
    torch.testing.assert_close(ours, angles, rtol=1e-6, atol=1e-6)


def test_a_stretch_changes_what_a_model_computes():
    ids = torch.randint(50, (1, 16), generator=torch.Generator().manual_seed(0))
    logits = []
    for stretch in (None, LinearStretch(2.0), Llama3Stretch(2.0, old_context=8)):
        torch.manual_seed(0)
        sizes = {"width": 16, "depth": 1, "heads": 2, "context": 16, "vocabulary": 50}
        network = TextModel(TextConfig(**sizes, prefix=0, rope_stretch=stretch))
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        logits.append(network(ids))
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])
    assert not torch.allclose(logits[1], logits[2])


@pytest.mark.parametrize(
    ("stretch", "told"),
    [
        (lambda: LinearStretch(0.5), "factor is 0.5"),
        (lambda: Llama3Stretch(0.5), "factor is 0.5"),
        (lambda: Llama3Stretch(low=4.0, high=4.0), "low < high"),
        (lambda: Llama3Stretch(old_context=0), "old_context is 0"),
    ],
)
def test_a_stretch_that_makes_no_sense_is_an_error(stretch, told):
    with pytest.raises(ValueError, match=told):
        stretch()


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_a_rotation_that_is_learned_through_is_the_one_that_is_not(kind):
    torch.manual_seed(0)
    wide = torch.float64 if kind == torch.float64 else torch.float32
    angles = torch.randn(7, 4, dtype=wide)
    rotation = Rotation(angles.cos(), angles.sin())
    x = torch.randn(2, 7, 3, 8).to(kind).transpose(1, 2).requires_grad_()
    turned = rotation(x)
    assert turned.dtype == wide
    assert torch.allclose(turned, rotation(x.detach()), atol=1e-6)
    (turned * turned.detach()).sum().backward()
    # A rotation back of what was turned is what it was.
    torch.testing.assert_close(x.grad, x.detach(), atol=1e-6 if kind == wide else 0.05, rtol=1e-5)
    if kind == torch.float64:
        assert torch.autograd.gradcheck(rotation, x)
