"""Claims about the tokenizer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text.tokenizer import BOS, EOS, PAD, TextTokenizer

TEXTS = ["a big red seven moves left", "the tiny blue three stays still"] * 4
LEARNED = TextTokenizer.train(TEXTS, vocabulary=300)


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_unicode_string_survives_the_round_trip(text: str):
    assert LEARNED.decode(LEARNED.encode(text)) == text


@pytest.mark.parametrize(
    "text", ["<eos>", "a<pad>b", "<bos> one", " two  spaces ", "\n", "é🙂\u0301"]
)
def test_special_names_and_odd_spacing_are_ordinary_text(text: str):
    ids = LEARNED.encode(text)
    assert not {PAD, BOS, EOS} & set(ids)
    assert LEARNED.decode(ids) == text


def test_decoding_stops_at_the_first_end():
    assert LEARNED.decode([BOS, *LEARNED.encode("one"), EOS, *LEARNED.encode("two"), PAD]) == "one"


def test_the_json_string_rebuilds_the_tokenizer():
    again = TextTokenizer(LEARNED.json)
    assert again.json == LEARNED.json
    assert again.encode(TEXTS[0]) == LEARNED.encode(TEXTS[0])
    assert len(again) == len(LEARNED)


def test_training_is_deterministic():
    assert TextTokenizer.train(TEXTS, vocabulary=300).json == LEARNED.json


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


def test_a_vocabulary_without_room_for_bytes_is_an_error():
    with pytest.raises(ValueError, match="at least 259"):
        TextTokenizer.train(TEXTS, vocabulary=100)


@pytest.mark.parametrize("json", ["", "{}", "not json"])
def test_a_string_that_is_no_tokenizer_is_an_error(json: str):
    with pytest.raises(ValueError, match="not a tokenizer"):
        TextTokenizer(json)
