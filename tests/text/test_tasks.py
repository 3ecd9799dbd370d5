"""Claims about the questions that tuning is measured on."""

import json

import pytest

from text.chat_template import read_line
from text.tasks import KINDS, questions, tasks

ANSWERS = {
    "reverse": lambda word: word[::-1],
    "last": lambda _, __, word: word[-1],
    "capitals": lambda word: word.upper(),
    "larger": lambda _, a, __, b: str(max(int(a), int(b))),
    "add": lambda a, _, b: str(int(a) + int(b)),
}


def test_every_answer_is_the_right_one():
    for question, answer in questions(500, seed=0):
        kind, *words = question.split()
        assert ANSWERS[kind](*words) == answer


def test_questions_differ_and_their_kinds_come_in_turn():
    drawn = questions(500, seed=0)
    assert len({question for question, _ in drawn}) == 500
    kinds = [question.split()[0] for question, _ in drawn]
    assert kinds == list(KINDS) * 100
    assert drawn == questions(500, seed=0) != questions(500, seed=1)


def test_no_question_that_is_asked_is_among_those_to_learn_from(tmp_path):
    tasks(tmp_path / "a", train=400, test=100)
    lines = {name: (tmp_path / "a" / f"{name}.jsonl").read_bytes().splitlines()
             for name in ("train", "test")}  # fmt: skip
    asked = {name: {read_line(line)[0].content for line in lines[name]} for name in lines}
    assert {name: len(found) for name, found in asked.items()} == {"train": 400, "test": 100}
    assert not asked["train"] & asked["test"]
    assert json.loads(lines["test"][0])["messages"][1]["role"] == "assistant"


def test_more_questions_than_there_are_cannot_be_drawn(monkeypatch):
    monkeypatch.setattr("text.tasks.KINDS", {"one": lambda draw: ("one", str(draw.integers(9)))})
    with pytest.raises(ValueError, match="3 different questions were not found"):
        questions(3, seed=0)
