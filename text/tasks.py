"""Small questions with one right answer each, as conversations: what tuning is measured on.

python -m text.tasks --out data/questions

No question of the test file is among those to train on.
"""

import json
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np

from core.cli import command
from core.errors import UserError
from core.files import new_folder

Exchange = tuple[str, str]
"""A question and its answer."""
Draw = np.random.Generator


def reverse(draw: Draw) -> Exchange:
    """A word backwards."""
    word = _word(draw, 2, 5)
    return f"reverse {word}", word[::-1]


def last(draw: Draw) -> Exchange:
    """The last letter of a word."""
    word = _word(draw, 3, 8)
    return f"last letter of {word}", word[-1]


def upper(draw: Draw) -> Exchange:
    """A word in capitals."""
    word = _word(draw, 2, 6)
    return f"capitals {word}", word.upper()


def larger(draw: Draw) -> Exchange:
    """The larger of two numbers."""
    a, b = draw.choice(1000, 2, replace=False).tolist()
    return f"larger of {a} and {b}", str(max(a, b))


def add(draw: Draw) -> Exchange:
    """The sum of two numbers of up to two digits."""
    a, b = draw.integers(0, 100, 2).tolist()
    return f"add {a} and {b}", str(a + b)


KINDS: dict[str, Callable[[Draw], Exchange]] = {
    "reverse": reverse,
    "last": last,
    "capitals": upper,
    "larger": larger,
    "add": add,
}
"""Kind of question -> what draws one."""


def tasks(out: Path, train: int = 8000, test: int = 500, seed: int = 0) -> None:
    """Write train.jsonl and test.jsonl: conversations of one question and its answer.

    Args:
        out: Folder to write.
        train: Questions to learn from, about as many of each kind.
        test: Questions to be asked; none is among the former.
        seed: Draws the questions.
    """
    drawn = questions(train + test, seed)
    with new_folder(out) as folder:
        for name, part in (("test", drawn[:test]), ("train", drawn[test:])):
            lines = "".join(json.dumps(_record(*exchange)) + "\n" for exchange in part)
            (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    print(f"{out}: {train:,} questions to learn from, {test:,} others to be asked")


def questions(count: int, seed: int) -> list[Exchange]:
    """Return different questions, their kinds in turn."""
    draw, kinds = np.random.default_rng(seed), list(KINDS.values())
    held: dict[str, str] = {}
    for _ in range(100 * count):
        question, answer = kinds[len(held) % len(kinds)](draw)
        held.setdefault(question, answer)
        if len(held) == count:
            return list(held.items())
    raise UserError(f"{count} different questions were not found; ask for fewer")


def _record(question: str, answer: str) -> dict[str, list[dict[str, str]]]:
    turns = (("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def _word(draw: Draw, shortest: int, longest: int) -> str:
    letters = draw.choice(list(string.ascii_lowercase), draw.integers(shortest, longest + 1))
    return "".join(letters.tolist())


if __name__ == "__main__":
    command(tasks)
