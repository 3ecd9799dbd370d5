"""Claims about text that a model writes with the tokenizers of other projects."""

import random

import pytest
import torch

from core.checkpoint import load_module
from core.cli import command, guard, quoted_lists
from core.members import decode_npy
from core.shards import ShardReader
from tests.text.kinds import KINDS, library_json, save_kind, wrapped
from text.convert import from_hf, to_hf, verb
from text.generate import LISTS, generate
from text.model import TextConfig
from text.module import TextModule
from text.shards import shards
from text.stream import TextStream
from text.tokenizer import Roles, TextTokenizer
from text.tokenizer_kinds import CHAT
from text.tokens import tokens
from text.windows import MEMBER

ROLES = Roles(bos=1, eos=2, pad=None)
PROMPTS = ["red", "a red", "red ", " red", "red  and", "red,", "", "re", "größer 日"]
OURS = {kind: TextTokenizer(library_json(kind), ROLES) for kind in KINDS}


def continued(tokenizer: TextTokenizer, prompt: str, written: list[int]) -> list[str]:
    """Return the prompt, and the pieces that are told of the tokens written after it."""
    stream = TextStream(tokenizer, before=[1, *tokenizer.encode(prompt)])
    pieces = [prompt, *map(stream.feed, written), stream.close()]
    assert stream.text == "".join(pieces[1:])
    return pieces


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_and_what_follows_it_are_what_transformers_decodes_of_the_whole(kind):
    ours, theirs = OURS[kind], wrapped(kind)
    draw = random.Random(0)
    usual = [i for n, i in ours.vocabulary.items() if i > 2 and not n.startswith("<0x")]
    for prompt in PROMPTS:
        ids = theirs(prompt, add_special_tokens=False)["input_ids"]
        assert ours.encode(prompt) == ids
        if 0 in ids:  # an unknown word, which transformers leaves out
            continue
        before = str(theirs.decode(ids, skip_special_tokens=True))
        for _ in range(20):
            written = draw.choices(usual, k=6)
            if kind == "bytelevel":  # whole characters only
                written = ours.encode(ours.decode(written).replace("\ufffd", ""))
            whole = str(theirs.decode([*ids, *written], skip_special_tokens=True))
            if not whole.startswith(before):  # such as </w>, which the last word lacks
                continue
            assert "".join(continued(ours, prompt, written)[1:]) == whole[len(before) :]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytelevel"])
def test_a_blank_stands_between_a_prompt_and_the_word_after_it(kind):
    ours = OURS[kind]
    word = ours.encode("red and")[len(ours.encode("red")) :]
    assert "".join(continued(ours, "red", word * 2)) == "red and and"


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_a_prompt_begins_without_a_blank(kind):
    written = OURS[kind].encode("red and")
    assert "".join(continued(OURS[kind], "", written)) == "red and"


def test_a_word_that_is_unknown_counts_as_a_word_before_a_blank():
    ours = OURS["wordpiece"]
    assert ours.encode("π") == [0]
    assert "".join(continued(ours, "π", ours.encode("and"))) == "π and"
    assert "".join(continued(ours, "red", [0, *ours.encode("and")])) == "red and"


def test_an_answer_in_a_chat_begins_without_a_blank():
    made = KINDS["sentencepiece"]()
    made.add_special_tokens(list(CHAT))
    ours = TextTokenizer(made.to_str(), ROLES)
    asked = [1, ours.special["<|user|>"], *ours.encode("red"), ours.special["<|assistant|>"]]
    stream = TextStream(ours, before=asked)
    assert [stream.feed(i) for i in ours.encode("and red")] == ["and", " red"]


def test_a_byte_that_fits_no_character_leaves_the_characters_before_it():
    ours = OURS["sentencepiece"]
    spelled = ours.encode("π")[-2:]
    assert continued(ours, "π", [spelled[0], *ours.encode("d")[-1:]])[:2] == ["π", ""]
    assert "".join(continued(ours, "π", [spelled[0], ours.vocabulary["d"]])) == "π\ufffdd"


@pytest.mark.parametrize("kind", KINDS)
def test_documents_become_tokens_that_decode_to_what_transformers_decodes(kind, tmp_path):
    documents = ["a red seven", "red and blue", "the end and a blue two, red"]
    (tmp_path / "a.txt").write_text("\n".join(documents))
    shards(tmp_path / "a.txt", tmp_path / "texts", unit="line")
    wrapped(kind).save_pretrained(tmp_path / "theirs")
    tokens(str(tmp_path / "texts"), str(tmp_path / "theirs"), tmp_path / "tokens")
    theirs, found = wrapped(kind), []
    for split in ("train", "val"):
        reader = ShardReader(tmp_path / "tokens" / split)
        ids = decode_npy(reader.read(0)[MEMBER]).tolist()
        while ids:
            end = ids.index(2) + 1
            found.append(theirs.decode(ids[:end], skip_special_tokens=True))
            ids = ids[end:]
    read = [theirs.decode(theirs(one, add_special_tokens=False)["input_ids"]) for one in documents]
    assert sorted(found) == sorted(read)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "sentencepiece"])
def test_the_loss_is_measured_where_the_bytes_of_tokens_are_not_known(kind, monkeypatch):
    module = TextModule(TextConfig(16, 1, 2, context=16, vocabulary=400, prefix=0))
    module.codec.use(OURS[kind])
    logged = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: value}))
    monkeypatch.setattr(module, "mean_over_ranks", lambda total, count: total / count)
    ids = torch.tensor([OURS[kind].document("a red seven")])
    batch = {"tokens": ids[:, :-1], "targets": ids[:, 1:], "seed": torch.tensor([0])}
    monkeypatch.setattr(module, "seeds", lambda batch: batch["seed"])
    module.validation_step(batch, 0)
    assert torch.isfinite(logged["val/loss"])
    assert ("val/bits_per_byte" in logged) is (kind == "sentencepiece")


def test_one_string_is_one_text_to_a_tokenizer():
    ours = OURS["sentencepiece"]
    assert ours.batch("red and", 9).tolist() == ours.batch(["red and"], 9).tolist()
    assert TextTokenizer.train("red and red and", 262).encode("red") != list(b"red")


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_what_transformers_writes(kind, tmp_path, capsys):
    model = save_kind(kind, tmp_path / "theirs", spare_rows=3)
    path = str(tmp_path / "ours.ckpt")
    argv = ["--from", "hf", "--source", str(tmp_path / "theirs"), "--out", path]
    command({"from_hf": from_hf, "to_hf": to_hf}, guard(lambda: verb(argv)))
    theirs = wrapped(kind)
    ids = [1, *theirs("a red", add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        found = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=8,
            do_sample=False,
            suppress_tokens=[1, *range(len(theirs), len(theirs) + 3)],
            pad_token_id=2,
        )[0]
    before = theirs.decode(ids, skip_special_tokens=True)
    whole = theirs.decode(found, skip_special_tokens=True)
    capsys.readouterr()
    words = ["--options.temperature", "0", "--options.max_tokens", "8", "--native", "false"]
    command(generate, quoted_lists(["--checkpoint", path, "--prompt", "a red", *words], LISTS))
    assert capsys.readouterr().out == f"a red{whole[len(before) :]}\n"
    assert load_module(path, TextModule).codec.tokenizer.encode("a red") == ids[1:]
