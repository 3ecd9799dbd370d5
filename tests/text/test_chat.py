"""Claims about what a model reads of a conversation."""

import pytest

from text.chat import read_before_answering
from text.chat_template import Message, prompt
from text.tokenizer import TextTokenizer

TOKENIZER = TextTokenizer.train([], 263, "byte", chat=True)
SAID = [
    Message("system", "be kind"),
    Message("user", "hello"),
    Message("assistant", "hi"),
    Message("user", "ok"),
]


def test_what_fits_is_read_as_it_was_trained():
    assert read_before_answering(TOKENIZER, SAID, 100) == (prompt(SAID, TOKENIZER), 4)


def test_the_oldest_turns_are_left_out_but_not_what_the_system_said():
    ids, kept = read_before_answering(TOKENIZER, SAID, 20)
    assert ids == prompt([SAID[0], SAID[3]], TOKENIZER)
    assert kept == 2


def test_a_question_that_never_fits_is_an_error():
    with pytest.raises(ValueError, match="15 tokens but there is room for 10"):
        read_before_answering(TOKENIZER, SAID, 10)
