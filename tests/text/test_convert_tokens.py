"""Claims about models whose tokenizer and embedding differ in size, or whose roles differ."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.checkpoint import load_module
from core.cli import command, guard
from tests.foreign import foreign_model, foreign_tokenizer, save_foreign
from tests.text.kinds import KINDS, save_kind, wrapped
from text.convert import from_hf, to_hf, verb
from text.module import TextModule
from text.tokenizer_files import read_tokenizer


def convert(source: Path, out: Path) -> TextModule:
    argv = ["--from", "hf", "--source", str(source), "--out", str(out)]
    command({"from_hf": from_hf, "to_hf": to_hf}, guard(lambda: verb(argv)))
    return load_module(out, TextModule)


def save_with_tokens(case: str, folder: Path, special: dict[str, Any]) -> int:
    """Save a model without a row to spare and a tokenizer with more tokens; return its rows."""
    tokenizer = foreign_tokenizer(case.partition("_")[0])
    rows = len(tokenizer)
    foreign_model(case, vocab_size=rows).save_pretrained(folder)
    tokenizer.add_special_tokens(special)
    tokenizer.save_pretrained(folder)
    return rows


@pytest.mark.parametrize("case", ["llama", "llama_tied", "gpt2", "qwen3"])
def test_a_padding_without_a_row_is_left_out_and_named(case, tmp_path, capsys):
    rows = save_with_tokens(case, tmp_path / "theirs", {"pad_token": "[PAD]"})
    made = convert(tmp_path / "theirs", tmp_path / "ours.ckpt")
    told = capsys.readouterr()
    assert f"left out '[PAD]' ({rows}): the model has {rows} rows" in told.err
    tokenizer = made.codec.tokenizer
    assert len(tokenizer) == rows
    assert tokenizer.pad is None
    theirs = AutoTokenizer.from_pretrained(tmp_path / "theirs")
    text = "Once [UPON] a größer time"
    assert tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([tokenizer.document(text)])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "theirs").eval()
    with torch.inference_mode():
        torch.testing.assert_close(made.net(ids), model(ids).logits, rtol=1e-4, atol=1e-4)


def test_what_was_converted_without_a_token_leaves_with_the_same_weights(tmp_path):
    save_with_tokens("llama", tmp_path / "theirs", {"pad_token": "[PAD]"})
    convert(tmp_path / "theirs", tmp_path / "ours.ckpt")
    to_hf(tmp_path / "ours.ckpt", tmp_path / "back")
    before, after = (load_file(tmp_path / n / "model.safetensors") for n in ("theirs", "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "back")) == len(before["lm_head.weight"])


def test_several_tokens_too_many_are_left_out_when_no_text_needs_them(tmp_path, capsys):
    extra = {"pad_token": "[PAD]", "additional_special_tokens": ["<a>", "<b>"]}
    rows = save_with_tokens("llama", tmp_path / "theirs", extra)
    assert len(convert(tmp_path / "theirs", tmp_path / "ours.ckpt").codec.tokenizer) == rows
    assert "'[PAD]'" in (err := capsys.readouterr().err)
    assert "'<b>'" in err


def test_an_end_without_a_row_is_refused_with_the_way_out(tmp_path, capsys):
    save_with_tokens("llama", tmp_path / "theirs", {"eos_token": "<|im_end|>"})
    with pytest.raises(SystemExit) as stop:
        convert(tmp_path / "theirs", tmp_path / "ours.ckpt")
    assert stop.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "'<|im_end|>'" in line
    assert "resize_token_embeddings" in line
    assert not (tmp_path / "ours.ckpt").exists()


@pytest.mark.parametrize("kind", ["unigram", "wordpiece", "sentencepiece"])
@pytest.mark.parametrize("spare", [0, 7])
def test_an_embedding_may_be_larger_than_the_tokenizer(kind, spare, tmp_path):
    save_kind(kind, tmp_path / "theirs", spare_rows=spare)
    made = convert(tmp_path / "theirs", tmp_path / "ours.ckpt")
    assert made.net.config.vocabulary == len(made.codec.tokenizer) + spare
    assert made.codec.tokenizer.encode("red and") == wrapped(kind).encode("red and")


def test_a_padding_that_no_file_has_is_none(tmp_path):
    save_foreign("llama", tmp_path / "theirs")
    path = tmp_path / "theirs" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "[PAD]"}))
    assert convert(tmp_path / "theirs", tmp_path / "ours.ckpt").codec.tokenizer.pad is None


def test_the_roles_may_stand_in_the_models_config_or_in_the_map_of_older_files(tmp_path):
    save_foreign("llama", tmp_path / "theirs")
    wanted = convert(tmp_path / "theirs", tmp_path / "a.ckpt").codec.tokenizer.roles
    config = tmp_path / "theirs" / "tokenizer_config.json"
    names = json.loads(config.read_text())
    config.unlink()
    assert convert(tmp_path / "theirs", tmp_path / "b.ckpt").codec.tokenizer.roles == wanted
    held = {key: {"content": names[key]} for key in ("bos_token", "eos_token")}
    (tmp_path / "theirs" / "special_tokens_map.json").write_text(json.dumps(held))
    assert read_tokenizer(tmp_path / "theirs").roles == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_alone_has_the_roles_of_the_usual_names(kind, tmp_path):
    wrapped(kind).backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokenizer = read_tokenizer(tmp_path / "tokenizer.json")
    assert (tokenizer.bos, tokenizer.eos, tokenizer.pad) == (1, 2, None)


def test_a_long_text_has_its_tokens_where_the_file_leaves_out_defaults(tmp_path):
    held = json.loads(wrapped("bytelevel").backend_tokenizer.to_str())
    del held["pre_tokenizer"]["use_regex"], held["model"]["type"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(held))
    tokenizer = read_tokenizer(tmp_path / "tokenizer.json")
    text = "a red seven\nand\n" * 400
    assert tokenizer.encode(text) == wrapped("bytelevel").encode(text)
