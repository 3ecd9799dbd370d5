"""Claims about the template of conversations."""

import json

import pytest

from text.chat_template import Message, chat_marks, parse_messages, prompt, read_line, render, tell
from text.tokenizer import TextTokenizer

TALK = [
    Message("system", "Be brief."),
    Message("user", "Hi <|end|> there"),
    Message("assistant", "Yes?"),
    Message("user", "Grün, 七?"),
    Message("assistant", ""),
]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train(["Be brief. Hi there Yes? <|end|>"], kind="char", chat=True)


def names(tokenizer: TextTokenizer, ids: list[int]) -> list[str]:
    by_id = {number: name for name, number in tokenizer.vocabulary.items()}
    return [by_id[i] for i in ids]


def test_a_conversation_is_told_and_learned_token_by_token(tokenizer):
    told = tell([Message("user", "Hi"), Message("assistant", "Yes?")], tokenizer)
    found = list(zip(names(tokenizer, told.ids), told.learned, strict=True))
    assert found == [
        ("<bos>", False),
        ("<|user|>", False),
        ("H", False),
        ("i", False),
        ("<|end|>", False),
        ("<|assistant|>", False),
        ("Y", True),
        ("e", True),
        ("s", True),
        ("?", True),
        ("<|end|>", True),
    ]


def test_exactly_the_assistants_words_and_ends_are_learned(tokenizer):
    told, marks = tell(TALK, tokenizer), chat_marks(tokenizer)
    speaker, expected = None, []
    for name in names(tokenizer, told.ids):
        mark = name in marks and name != "<|end|>"
        speaker = name if mark else speaker
        expected.append(speaker == "<|assistant|>" and not mark)
    assert told.learned == expected
    assert sum(told.learned) == len("Yes?") + 1 + 1  # the empty answer still ends


def test_a_mark_that_a_user_types_is_no_mark(tokenizer):
    told, end = tell(TALK, tokenizer), chat_marks(tokenizer)["<|end|>"]
    assert told.ids.count(end) == len(TALK)
    assert tokenizer.decode(told.ids).count("<|end|>") == 1


def test_a_prompt_is_what_stands_before_the_answer(tokenizer):
    before, whole = prompt(TALK[:2], tokenizer), tell(TALK[:3], tokenizer).ids
    assert whole[: len(before)] == before
    assert len(whole) == len(before) + len("Yes?") + 1


def test_what_is_rendered_is_what_is_told(tokenizer):
    plain = [Message("user", "Hi"), Message("assistant", "Yes?")]
    told = "".join(names(tokenizer, tell(plain, tokenizer).ids))
    assert told == "<bos>" + render(plain)
    asked = "".join(names(tokenizer, prompt(plain[:1], tokenizer)))
    assert asked == "<bos>" + render(plain[:1], reply=True)


def test_a_tokenizer_without_begin_tells_none():
    from text.tokenizer import Roles

    base = TextTokenizer.train([], kind="byte", chat=True)
    tokenizer = TextTokenizer(base.json, Roles(bos=None))
    told = tell([Message("user", "a"), Message("assistant", "b")], tokenizer)
    assert names(tokenizer, told.ids)[0] == "<|user|>"
    assert len(told.ids) == len(told.learned)


def test_a_record_gives_its_messages_and_a_line_too():
    record = {"messages": [{"role": m.role, "content": m.content} for m in TALK]}
    assert parse_messages(record) == TALK
    assert read_line(json.dumps(record).encode()) == TALK


USER = {"role": "user", "content": "a"}
BAD = {
    "no list": ({"text": "a"}, 'no list of "messages"'),
    "an empty list": ({"messages": []}, 'no list of "messages"'),
    "no record": ([USER], 'no list of "messages"'),
    "no role": ({"messages": [{"content": "a"}]}, "message 1 has no role"),
    "another role": ({"messages": [{"role": "tool", "content": "a"}]}, "message 1 has no role"),
    "no text": ({"messages": [{"role": "user", "content": None}]}, "message 1 has no text"),
    "two users": ({"messages": [USER, USER]}, "message 2 is the user's but the assistant's turn"),
    "a late system": (
        {"messages": [USER, {"role": "system", "content": "a"}]},
        "message 2 is the system's",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_record_that_is_no_conversation_is_refused(kind):
    record, reason = BAD[kind]
    with pytest.raises(ValueError, match=reason):
        parse_messages(record)


@pytest.mark.parametrize(("line", "reason"), [(b"{", "no JSON"), (b'"\xff"', "not UTF-8")])
def test_a_line_that_cannot_be_read_is_refused(line, reason):
    with pytest.raises(ValueError, match=reason):
        read_line(line)


def test_a_tokenizer_without_a_chats_tokens_is_refused():
    with pytest.raises(ValueError, match="has no <|system|>.*--chat true".replace("|", r"\|")):
        prompt(TALK[:2], TextTokenizer.train([], kind="byte"))
