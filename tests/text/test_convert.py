"""Claims about conversion: what transformers computes and what ours computes are the same."""


import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.checkpoint import load_module
from tests.foreign import CASES, TEXTS, save_foreign
from text.convert import from_hf, to_hf
from text.module import TextModule


@pytest.fixture(scope="module", params=CASES)
def converted(request, tmp_path_factory):
    """Return a model of others, its folder, the checkpoint made of it, and the folder of that."""
    root = tmp_path_factory.mktemp(request.param)
    model = save_foreign(request.param, root / "theirs")
    from_hf(root / "theirs", root / "ours.ckpt")
    to_hf(root / "ours.ckpt", root / "back")
    return model, root


def logits_of(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids).logits


def random_ids(rows: int, width: int, tokens: int) -> torch.Tensor:
    return torch.randint(tokens, (rows, width), generator=torch.Generator().manual_seed(1))


def test_logits_are_those_of_transformers(converted):
    model, root = converted
    net = load_module(root / "ours.ckpt", TextModule).net
    ids = random_ids(3, 64, model.config.vocab_size)
    with torch.no_grad():
        torch.testing.assert_close(net(ids), logits_of(model, ids), rtol=0, atol=1e-4)


def test_the_folder_made_of_the_checkpoint_loads_and_computes_the_same(converted):
    model, root = converted
    back = AutoModelForCausalLM.from_pretrained(root / "back")
    assert type(back) is type(model)
    ids = random_ids(3, 64, model.config.vocab_size)
    torch.testing.assert_close(logits_of(back, ids), logits_of(model, ids), rtol=0, atol=0)


def test_weights_are_bitwise_the_same_after_both_ways(converted):
    _, root = converted
    theirs, back = (load_file(root / name / "model.safetensors") for name in ("theirs", "back"))
    assert theirs.keys() == back.keys()
    assert all(torch.equal(theirs[name], back[name]) for name in theirs)


def test_the_tokenizer_gives_the_same_ids_in_all_three(converted):
    _, root = converted
    theirs, back = (AutoTokenizer.from_pretrained(root / name) for name in ("theirs", "back"))
    ours = load_module(root / "ours.ckpt", TextModule).codec.tokenizer
    for text in [*TEXTS, "", " a ", *(text + token for text in TEXTS for token in ours.special)]:
        assert theirs(text)["input_ids"] == back(text)["input_ids"]
        plain = ours.encode(text)
        for other in (theirs, back):
            options = {"add_special_tokens": False, "split_special_tokens": True}
            assert plain == other(text, **options)["input_ids"]
        assert ours.decode(plain) == text == back.decode(plain)
    for role in ("bos", "eos", "pad"):
        number = getattr(ours.roles, role)
        assert getattr(theirs, f"{role}_token_id") == number
        assert getattr(back, f"{role}_token_id") == number
