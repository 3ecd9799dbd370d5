"""Claims about the tokenizer."""

import json
import os
import time
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from text.tokenizer import BOS, EOS, PAD, Roles, TextCodec, TextTokenizer
from text.tokenizer_kinds import CHAT, Kind

TEXTS = ["a big red seven moves left", "the tiny blue three stays still"] * 4
LEARNED = TextTokenizer.train(TEXTS, vocabulary=300)
OF_KIND = {kind: TextTokenizer.train([*TEXTS, "grün 七"], None, kind) for kind in get_args(Kind)}
ODD = ["\n", "\r\n", "\0", "é🙂\u0301", "\u0301", "\ufeff", "\U0010ffff"]
LIKE_GPT2 = TextTokenizer(
    LEARNED.json.replace("<pad>", "<|endoftext|>"), Roles(bos=0, eos=0, pad=None)
)
"""A begin that is the end, and nothing to pad with."""


@pytest.fixture(params=OF_KIND)
def tokenizer(request) -> TextTokenizer:
    return OF_KIND[request.param]


@pytest.mark.parametrize("kind", OF_KIND)
def test_any_unicode_string_survives_the_round_trip(kind: str):
    @given(st.text())
    @settings(max_examples=200, deadline=None)
    def check(text: str):
        assert OF_KIND[kind].decode(OF_KIND[kind].encode(text)) == text

    check()


@pytest.mark.parametrize(
    "text",
    ["<eos>", "a<pad>b", "<bos> one", "<|end|>", "<0x41>", " two  spaces ", *ODD],
)
def test_special_names_and_odd_characters_are_ordinary_text(tokenizer, text: str):
    ids = tokenizer.encode(text)
    assert not {PAD, BOS, EOS} & set(ids)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", OF_KIND)
def test_a_long_text_has_the_tokens_that_it_has_as_a_whole(kind: str, monkeypatch):
    monkeypatch.setattr("text.tokenizer.LONG", 0)
    monkeypatch.setattr("text.tokenizer_parts.LONG", 5)
    odd = st.sampled_from(["\n", "\n", " ", "\r", "\t", "\u2028", "a", "'s", "7", "é", "\x1d", "."])

    @given(st.lists(odd | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join))
    @settings(max_examples=300, deadline=None)
    def check(text: str):
        whole = OF_KIND[kind]._tokenizer.encode(text, add_special_tokens=False).ids
        assert OF_KIND[kind].encode(text) == whole

    check()


def test_half_a_surrogate_pair_is_an_error_that_names_its_place(tokenizer):
    with pytest.raises(ValueError, match=r"'\\ud83d', at character 3"):
        tokenizer.encode("red\ud83d")


def test_a_character_of_the_texts_is_one_token_and_others_are_spelled_in_bytes():
    char = OF_KIND["char"]
    assert [len(char.encode(text)) for text in ("seven", "grün 七", "Ж", "🙂")] == [5, 6, 2, 4]
    assert char.encode("七") == [char.vocabulary["七"]]


def test_a_character_tokenizer_has_rows_for_no_byte_that_never_occurs():
    assert len(TextTokenizer.train([], None, "char")) == 3 + 256 - 13
    assert len(TextTokenizer.train(["abc"], None, "char")) == 3 + 256 - 13
    assert len(TextTokenizer.train(["aé"], None, "char")) == 3 + 256 - 13 + 1


def test_a_smaller_vocabulary_keeps_the_commonest_characters():
    small = TextTokenizer.train(["七七七八九九"], 3 + 256 - 13 + 2, "char")
    assert {"七", "九"} == {name for name in small.vocabulary if name in "七八九"}
    assert small.decode(small.encode("八")) == "八"


def test_the_tokens_of_a_byte_tokenizer_are_the_bytes_in_order():
    text = "a\0ÿ七"
    assert OF_KIND["byte"].encode(text) == [3 + byte for byte in text.encode()]


@pytest.mark.parametrize("kind", OF_KIND)
def test_chat_tokens_stand_behind_the_first_three_and_are_in_no_text(kind):
    chat = TextTokenizer.train(TEXTS, None, kind, chat=True)
    assert {name: chat.special[name] for name in CHAT} == {n: 3 + i for i, n in enumerate(CHAT)}
    assert min(chat.encode(" ".join(CHAT))) >= 7
    assert chat.decode([3, *chat.encode("one"), 6]) == "one"


def test_decoding_stops_at_the_first_end():
    assert LEARNED.decode([BOS, *LEARNED.encode("one"), EOS, *LEARNED.encode("two"), PAD]) == "one"


def test_the_json_string_rebuilds_the_tokenizer(tokenizer):
    again = TextTokenizer(tokenizer.json)
    assert again.json == tokenizer.json == tokenizer._tokenizer.to_str()
    assert again.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
    assert len(again) == len(tokenizer)


def test_the_same_tokenizer_laid_out_otherwise_has_the_same_hash(tokenizer):
    again = TextTokenizer(json.dumps(json.loads(tokenizer.json), indent=2))
    assert again.digest == tokenizer.digest != LIKE_GPT2.digest


@pytest.mark.parametrize("kind", OF_KIND)
def test_training_is_deterministic(kind):
    first, second = (TextTokenizer.train(TEXTS, None, kind) for _ in range(2))
    assert first.json == second.json


def test_merges_shorten_what_was_seen():
    assert len(LEARNED.encode(TEXTS[0])) < len(TEXTS[0].encode()) / 2


def test_a_batch_starts_ends_and_pads():
    ids = LEARNED.batch(["red", ""], length=64)
    assert ids[:, 0].tolist() == [BOS, BOS]
    assert ids[1].tolist()[1] == EOS
    assert set(ids[1].tolist()[2:]) <= {PAD}
    assert ids[0, -1] == EOS


def test_a_batch_is_cut_at_the_length():
    ids = LEARNED.batch(["x" * 100], length=8)
    assert ids.shape == (1, 8)
    assert EOS not in ids


def test_a_begin_that_is_the_end_does_not_end_a_text():
    assert LIKE_GPT2.document("one") == [0, *LEARNED.encode("one"), 0]
    assert LIKE_GPT2.decode(LIKE_GPT2.document("one")) == "one"
    assert LIKE_GPT2.decode([0, 0]) == ""


def test_a_tokenizer_without_a_begin_begins_with_the_text():
    plain = TextTokenizer(LEARNED.json, Roles(bos=None))
    assert plain.document("red") == [*LEARNED.encode("red"), EOS]


def test_rows_of_different_lengths_need_a_padding_token():
    assert LIKE_GPT2.batch(["red", "red"], 8).shape[0] == 2
    with pytest.raises(ValueError, match="without a padding token"):
        LIKE_GPT2.batch(["red", ""], 8)


def test_a_special_token_of_another_tokenizer_is_ordinary_text():
    assert LIKE_GPT2.decode(LIKE_GPT2.encode("a<|endoftext|>b")) == "a<|endoftext|>b"


def test_truncation_and_padding_that_a_file_asks_for_are_not_done():
    layout = json.loads(LEARNED.json)
    layout["truncation"] = {
        "direction": "Right",
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    assert TextTokenizer(json.dumps(layout)).encode(TEXTS[0]) == LEARNED.encode(TEXTS[0])


def test_roles_that_name_no_token_are_an_error():
    with pytest.raises(ValueError, match="eos is token 300 but the tokenizer has 297"):
        TextTokenizer(LEARNED.json, Roles(eos=300))


@pytest.mark.parametrize(
    ("kind", "smallest"), [("bpe", 259), ("char", 246), ("byte", 259)], ids=get_args(Kind)
)
def test_a_vocabulary_without_room_for_bytes_is_an_error(kind, smallest):
    with pytest.raises(ValueError, match=f"at least {smallest}"):
        TextTokenizer.train(TEXTS, smallest - 1, kind)
    assert len(TextTokenizer.train(TEXTS, smallest, kind)) == smallest


@pytest.mark.parametrize("json", ["", "{}", "not json", "[]", "3", '{"roles": 1, "tokenizer": 2}'])
def test_a_string_that_is_no_tokenizer_is_an_error(json: str):
    with pytest.raises(ValueError, match="not a tokenizer"):
        TextTokenizer(json)


def test_a_tokenizer_from_elsewhere_needs_its_roles():
    with pytest.raises(ValueError, match="or its roles be given"):
        TextTokenizer(LIKE_GPT2.library_json)


def moved(codec: TextCodec) -> TextCodec:
    """Return a new codec with the state of another, as a checkpoint takes it there."""
    new = TextCodec(codec.vocabulary)
    new.load_state_dict(codec.state_dict())
    return new


@pytest.mark.parametrize("learned", [*OF_KIND.values(), LIKE_GPT2], ids=[*OF_KIND, "gpt2"])
def test_a_tokenizer_and_its_roles_travel_in_the_codecs_state(learned):
    codec = TextCodec()
    codec.use(learned)
    assert moved(codec).tokenizer.json == learned.json
    assert moved(codec).tokenizer.roles == learned.roles


def test_the_state_of_older_checkpoints_is_the_plain_tokenizer():
    codec = TextCodec()
    state = torch.tensor(list(LEARNED._tokenizer.to_str().encode()), dtype=torch.uint8)
    codec.load_state_dict({"_extra_state": state})
    assert codec.tokenizer.encode(TEXTS[0]) == LEARNED.encode(TEXTS[0])


def test_a_codec_as_small_as_a_character_tokenizer_takes_one():
    char = TextTokenizer.train(TEXTS, None, "char")
    codec = TextCodec(len(char))
    codec.use(char)
    assert codec.decode(codec.encode(["red"], 8)) == ["red"]


def test_a_tokenizer_larger_than_the_vocabulary_does_not_fit():
    with pytest.raises(ValueError, match="297 tokens does not fit a vocabulary of 280"):
        TextCodec(280).use(LEARNED)


def test_another_tokenizer_than_the_checkpoints_is_an_error():
    codec = TextCodec()
    codec.settle(LEARNED, "tokenizer.json")
    codec.settle(TextTokenizer(LEARNED.json), "tokenizer.json")
    with pytest.raises(ValueError, match=r"other\.json is tokenizer .*checkpoint was trained with"):
        codec.settle(OF_KIND["char"], "other.json")


@pytest.mark.data
@pytest.mark.skipif("UNISON_DATA" not in os.environ, reason="UNISON_DATA names no folder")
@pytest.mark.parametrize("kind", OF_KIND)
def test_plays_of_a_megabyte_survive_and_take_seconds(kind):
    text = (Path(os.environ["UNISON_DATA"]) / "tinyshakespeare" / "input.txt").read_text("utf-8")
    learned = TextTokenizer.train([text], 1024, kind)
    start = time.process_time()
    ids = learned.encode(text)
    seconds = time.process_time() - start
    print(f"{kind}: {len(text.encode()) / seconds / 1e6:.2f} MB/s, {len(text) / len(ids):.3f}")
    assert learned.decode(ids) == text
    assert seconds < 30
