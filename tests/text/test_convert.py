"""Claims about conversion: what transformers computes and what ours computes are the same."""

from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.checkpoint import AtomicCheckpointIO, load_module, read_checkpoint, show
from tests.alone import card_code, run_alone
from tests.foreign import CASES, TEXTS, save_foreign
from text.convert import from_hf, to_hf
from text.model import TextConfig
from text.module import TextModule
from text.sampling import TextOptions
from text.tokenizer import TextTokenizer


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


def greedy(module: TextModule, prompt: list[int], count: int) -> list[int]:
    """Return the likeliest tokens, one after another, from our cache."""
    net, ids = module.net, torch.tensor([prompt])
    caches = net.begin(net.prefix(None, 1), len(prompt) + count)
    written: list[int] = []
    with torch.no_grad():
        for _ in range(count):
            ids = net.read(ids, caches)[:, -1:].argmax(-1)
            written.append(int(ids))
    return written


def test_the_folder_writes_the_same_tokens_greedily(converted):
    _, root = converted
    back = AutoModelForCausalLM.from_pretrained(root / "back")
    tokenizer = AutoTokenizer.from_pretrained(root / "back")
    prompt = tokenizer(TEXTS[1], return_tensors="pt")["input_ids"]
    wanted = back.generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=-1)[0]
    module = load_module(root / "ours.ckpt", TextModule)
    assert greedy(module, prompt[0].tolist(), 12) == wanted[prompt.shape[1] :].tolist()


def own(path, *, trained: bool = True, **shape) -> TextModule:
    """Write a checkpoint of a random language model of ours."""
    torch.manual_seed(0)
    sizes = {"width": 32, "depth": 2, "heads": 4, "context": 48, "vocabulary": 300, "prefix": 0}
    module = TextModule(TextConfig(**sizes | shape))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if trained:
        module.codec.use(TextTokenizer.train(TEXTS, 290, chat=True))
    checkpoint = {"state_dict": module.state_dict(), "global_step": 7}
    module.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return module.eval()


@pytest.mark.parametrize("layout", ["unison", "qwen3", "llama"])
@pytest.mark.parametrize("mlp", ["swiglu", "relu2"])
@pytest.mark.parametrize("tied", [True, False])
def test_our_own_models_leave_with_the_same_logits_and_ids(tmp_path, layout, mlp, tied):
    module = own(
        tmp_path / "last.ckpt", layout=layout, mlp=mlp, tied=tied, kv_heads=2, head_width=10
    )
    to_hf(tmp_path / "last.ckpt", tmp_path / "hf")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    ids = random_ids(2, 48, 300)
    with torch.no_grad():
        torch.testing.assert_close(module.net(ids), logits_of(model, ids), rtol=0, atol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    for text in TEXTS:
        document = module.codec.tokenizer.document(text)
        assert tokenizer(text)["input_ids"] == document[:-1]
        assert tokenizer(f"{text}<eos>")["input_ids"] == document
    from_hf(tmp_path / "hf", tmp_path / "again.ckpt")
    again = load_module(tmp_path / "again.ckpt", TextModule)
    assert again.codec.tokenizer.json == module.codec.tokenizer.json
    likeliest = TextOptions(temperature=0.0, max_tokens=9)
    written = module.generate(None, likeliest, seeds=[0])
    assert again.generate(None, likeliest, seeds=[0]) == written
    with torch.no_grad():
        torch.testing.assert_close(again.net(ids), module.net(ids), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_other_kinds_of_tokenizers_leave_too(tmp_path, kind):
    module = own(tmp_path / "last.ckpt", mlp="swiglu")
    module.codec.use(TextTokenizer.train(TEXTS, kind=kind))
    checkpoint = {"state_dict": module.state_dict(), "global_step": 7}
    module.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    to_hf(tmp_path / "last.ckpt", tmp_path / "hf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    for text in [*TEXTS, "unseen: ξ𝄞"]:
        ids = module.codec.tokenizer.document(text)
        assert tokenizer(text)["input_ids"] == ids[:-1]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_averaged_weights_leave_unless_the_raw_ones_are_asked_for(tmp_path):
    module = own(tmp_path / "last.ckpt", layout="llama", mlp="swiglu")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    checkpoint["ema"] = {"net.norm.weight": torch.ones(32)}
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    for raw, wanted in {False: torch.ones(32), True: module.net.norm.weight.detach()}.items():
        to_hf(tmp_path / "last.ckpt", tmp_path / f"{raw}", raw=raw)
        weights = load_file(tmp_path / f"{raw}" / "model.safetensors")
        torch.testing.assert_close(weights["model.norm.weight"], wanted, rtol=0, atol=0)


def test_a_converted_checkpoint_says_where_it_came_from(tmp_path, capsys):
    save_foreign("llama", tmp_path / "theirs")
    from_hf(tmp_path / "theirs", tmp_path / "ours.ckpt")
    data = (tmp_path / "theirs" / "model.safetensors").read_bytes()
    capsys.readouterr()
    show(tmp_path / "ours.ckpt")
    assert f"from llama in theirs, weights {sha256(data).hexdigest()}" in capsys.readouterr().out


def test_a_model_in_several_files_is_read(tmp_path):
    save_foreign("qwen3", tmp_path / "whole")
    save_foreign("qwen3", tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 2
    for name in ("whole", "parts"):
        from_hf(tmp_path / name, tmp_path / f"{name}.ckpt")
    whole, parts = (read_checkpoint(tmp_path / f"{n}.ckpt") for n in ("whole", "parts"))
    held = parts["state_dict"]
    assert all(torch.equal(value, held[name]) for name, value in whole["state_dict"].items())


def test_weights_in_bfloat16_are_read_without_loss(tmp_path):
    model = save_foreign("llama", tmp_path / "wide").to(torch.bfloat16)
    model.save_pretrained(tmp_path / "wide")
    from_hf(tmp_path / "wide", tmp_path / "ours.ckpt")
    net = load_module(tmp_path / "ours.ckpt", TextModule).net
    ids = random_ids(2, 30, 300)
    # A model that is made wide afterwards keeps the narrow frequencies of its positions.
    wide = AutoModelForCausalLM.from_pretrained(tmp_path / "wide", dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(net(ids), logits_of(wide, ids), rtol=0, atol=1e-4)


def test_the_base_model_alone_and_masks_of_older_files_are_read(tmp_path):
    model = save_foreign("gpt2", tmp_path / "gpt2")
    held = load_file(tmp_path / "gpt2" / "model.safetensors")
    held = {name.removeprefix("transformer."): value for name, value in held.items()}
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 64, 64) for i in range(2)}
    save_file(held | masks, tmp_path / "gpt2" / "model.safetensors", {"format": "pt"})
    from_hf(tmp_path / "gpt2", tmp_path / "ours.ckpt")
    net, ids = load_module(tmp_path / "ours.ckpt", TextModule).net, random_ids(2, 30, 300)
    with torch.no_grad():
        torch.testing.assert_close(net(ids), logits_of(model, ids), rtol=0, atol=1e-4)


def test_the_readme_of_a_folder_names_its_origin_and_no_licence_and_its_code_runs(tmp_path):
    own(tmp_path / "last.ckpt", layout="llama", mlp="swiglu")
    to_hf(tmp_path / "last.ckpt", tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text()
    assert "7 steps, seed 0" in card
    assert "license: unknown" in card
    assert "No licence is stated here" in card
    for title in ("Use", "Data", "Figures", "Limits", "Licence", "Origin"):
        assert f"\n## {title}\n" in card
    assert "Once" in run_alone(card_code(tmp_path / "hf" / "README.md"), tmp_path)
