"""Claims about text that is told piece by piece."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text.stream import BROKEN, TextStream
from text.tokenizer import TextTokenizer

BYTES = TextTokenizer.train([], 259, "byte")
PAIRS = TextTokenizer.train(["to be or not to be, que será"] * 9, 300)
CHARACTERS = TextTokenizer.train(["to be or not to be"], None, "char")


def told(tokenizer: TextTokenizer, ids: list[int], stop=()) -> tuple[list[str], TextStream]:
    stream = TextStream(tokenizer, stop)
    pieces = []
    for token in ids:
        pieces.append(stream.feed(token))
        if stream.stopped:
            return pieces, stream
    return [*pieces, stream.close()], stream


@pytest.mark.parametrize("tokenizer", [BYTES, PAIRS, CHARACTERS], ids=["byte", "bpe", "char"])
@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30))
def test_the_pieces_join_to_the_text(tokenizer, text):
    pieces, stream = told(tokenizer, tokenizer.encode(text))
    assert "".join(pieces) == stream.text == text


@pytest.mark.parametrize("text", ["naïve", "日本語", "👩‍👩‍👧 ok", "e\u0301"])
def test_no_piece_holds_half_a_character(text):
    pieces, _ = told(BYTES, BYTES.encode(text))
    assert BROKEN not in "".join(pieces)
    assert len(pieces) == len(text.encode()) + 1


def test_bytes_that_are_no_character_are_told_as_such_in_the_end():
    ids = BYTES.encode("aé")[:-1]
    pieces, stream = told(BYTES, ids)
    assert pieces == ["a", "", BROKEN]
    assert stream.text == f"a{BROKEN}"


def test_random_bytes_join_to_what_the_tokenizer_makes_of_them():
    draw = random.Random(0)
    for _ in range(50):
        ids = [draw.randrange(3, 259) for _ in range(20)]
        pieces, _ = told(BYTES, ids)
        assert "".join(pieces) == BYTES.decode(ids)


@pytest.mark.parametrize("tokenizer", [BYTES, PAIRS, CHARACTERS], ids=["byte", "bpe", "char"])
@pytest.mark.parametrize("stop", ["not", "t t", "be,", "é", "r n"])
def test_a_stop_string_ends_the_text_across_the_borders_of_tokens(tokenizer, stop):
    text = "to be or not to be, é"
    pieces, stream = told(tokenizer, tokenizer.encode(text), [stop])
    assert stream.stopped
    assert "".join(pieces) == stream.text == text[: text.index(stop)]


def test_the_beginning_of_a_stop_string_waits_and_is_told_if_it_was_none():
    pieces, stream = told(BYTES, BYTES.encode("aENaEND."), ["END"])
    assert pieces == ["a", "", "", "ENa", "", "", ""]
    assert stream.text == "aENa"
    pieces, stream = told(BYTES, BYTES.encode("aEN"), ["END"])
    assert pieces == ["a", "", "", "EN"]
    assert not stream.stopped


def test_the_first_of_several_stop_strings_ends_the_text():
    _, stream = told(BYTES, BYTES.encode("one two three"), ["three", "two"])
    assert stream.text == "one "


def test_an_empty_stop_string_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        TextStream(BYTES, [""])
