"""Claims about the bytes of tokens, and about the counts made of them."""

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text.token_bytes import token_bytes
from text.token_counts import count, words
from text.tokenizer import Roles, TextTokenizer
from text.tokenizer_kinds import Kind

TEXTS = ["a big red seven moves left", "grün ▁ 七", "<0x41> <bos>"] * 3
OF_KIND = {k: TextTokenizer.train(TEXTS, None, k, chat=True) for k in get_args(Kind)}


@pytest.mark.parametrize("kind", OF_KIND)
def test_the_bytes_of_a_texts_tokens_sum_to_its_bytes(kind: str):
    sizes = token_bytes(OF_KIND[kind])
    assert sizes[:7].tolist() == [0] * 7
    assert (sizes[7:] > 0).all()

    @given(st.text() | st.sampled_from(TEXTS))
    @settings(max_examples=200, deadline=None)
    def check(text: str):
        assert sizes[OF_KIND[kind].encode(text)].sum() == len(text.encode())

    check()


def test_a_space_that_sentencepiece_writes_as_a_letter_is_one_byte():
    layout = json.loads(TextTokenizer.train(["red▁ seven"], None, "char").json)
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    layout["normalizer"] = space
    layout["decoder"]["decoders"].insert(0, back)
    like_llama = TextTokenizer(json.dumps(layout))
    ids = like_llama.encode("red seven")
    assert like_llama.decode(ids) == "red seven"
    assert token_bytes(like_llama)[ids].sum() == len(b"red seven")


def test_the_bytes_of_a_tokenizer_that_cannot_spell_are_not_known():
    layout = json.loads(OF_KIND["byte"].json)
    layout["decoder"], layout["pre_tokenizer"] = None, {"type": "Whitespace"}
    with pytest.raises(ValueError, match="cannot spell every byte"):
        token_bytes(TextTokenizer(json.dumps(layout), Roles()))


def test_counts_are_of_the_texts_alone():
    counts = count(OF_KIND["byte"], ["aé", "a"])
    assert (counts.texts, counts.bytes, counts.characters, counts.tokens) == (2, 4, 3, 4)
    assert counts.used_share == 3 / len(OF_KIND["byte"])
    assert counts.bytes_a_token == 1
    assert counts.characters_a_token == 0.75


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a red seven", 3),
        ("  don't — stop! ", 2),
        ("3.5 kg", 2),
        ("七个红色", 4),
        ("七 left", 2),
        ("ตัวเลข", 5),
        ("हिन्दी में", 2),
        ("한국어 문장", 2),
        ("…", 0),
    ],
)
def test_words_are_parted_by_spaces_or_are_letters_where_none_are_written(text: str, number: int):
    assert words(text) == number
