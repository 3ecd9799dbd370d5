"""How a conversation is told in tokens, and which of them a model learns: pure functions.

    <bos><|user|>How are you?<|end|><|assistant|>Fine, thanks.<|end|>

Who speaks and the end of what is said are special tokens, which no text contains: what a user types
can neither end a turn nor speak for another.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from core.errors import UserError
from text.tokenizer import TextTokenizer
from text.tokenizer_kinds import CHAT

Role = Literal["system", "user", "assistant"]
END = "<|end|>"


@dataclass(frozen=True)
class Message:
    """What one speaker says in one go."""

    role: Role
    """Who speaks."""
    content: str
    """What is said."""


class Told(NamedTuple):
    """A conversation in tokens."""

    ids: list[int]
    learned: list[bool]
    """Whether each token is one that the assistant writes: its words and the end of its turns."""


def parse_messages(record: Any) -> list[Message]:
    """Return the conversation of a record `{"messages": [{"role": ..., "content": ...}, ...]}`.

    Raises:
        ValueError: if it is none, or its turns are not in order.
    """
    turns = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(turns, list) or not turns:
        raise UserError('it has no list of "messages"')
    messages = [_message(turn, number) for number, turn in enumerate(turns, 1)]
    check_turns(messages)
    return messages


def check_turns(messages: Sequence[Message]) -> None:
    """Raise unless user and assistant take turns, the user first, behind at most one system."""
    first = 1 if messages and messages[0].role == "system" else 0
    for number, message in enumerate(messages[first:]):
        wanted = ("user", "assistant")[number % 2]
        if message.role != wanted:
            raise UserError(
                f"message {first + number + 1} is the {message.role}'s but the {wanted}'s turn; "
                "after an optional system message user and assistant take turns"
            )


def render(messages: Sequence[Message], *, reply: bool = False) -> str:
    """Return a conversation as people see it, special tokens by name, without `<bos>`.

    Args:
        messages: What was said.
        reply: Let the assistant begin to speak.
    """
    turns = [f"<|{message.role}|>{message.content}{END}" for message in messages]
    return "".join(turns) + (_mark("assistant") if reply else "")


def tell(messages: Sequence[Message], tokenizer: TextTokenizer) -> Told:
    """Return a whole conversation in tokens, and which of them the assistant writes."""
    marks = chat_marks(tokenizer)
    ids = [] if tokenizer.bos is None else [tokenizer.bos]
    learned = [False] * len(ids)
    for message in messages:
        said = [*tokenizer.encode(message.content), marks[END]]
        ids += [marks[_mark(message.role)], *said]
        learned += [False, *[message.role == "assistant"] * len(said)]
    return Told(ids, learned)


def prompt(messages: Sequence[Message], tokenizer: TextTokenizer) -> list[int]:
    """Return what a model reads before it writes the assistant's next turn."""
    return [*tell(messages, tokenizer).ids, chat_marks(tokenizer)[_mark("assistant")]]


def chat_marks(tokenizer: TextTokenizer) -> dict[str, int]:
    """Return the ids of the special tokens of a chat."""
    missing = [name for name in CHAT if name not in tokenizer.special]
    if missing:
        raise UserError(
            f"the tokenizer has no {', '.join(missing)}; learn one for chats with: python -m "
            "text.tokens --chat true"
        )
    return {name: tokenizer.special[name] for name in CHAT}


def read_line(line: bytes) -> list[Message]:
    """Return the conversation of a line of JSONL.

    Raises:
        ValueError: if the line is no UTF-8, no JSON or no conversation.
    """
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"it is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise UserError(f"it is no JSON ({error})") from None
    return parse_messages(record)


def _message(turn: Any, number: int) -> Message:
    if not isinstance(turn, dict) or turn.get("role") not in get_args(Role):
        raise UserError(f"message {number} has no role among {', '.join(get_args(Role))}")
    content = turn.get("content")
    if not isinstance(content, str):
        raise UserError(f"message {number} has no text as its content")
    return Message(turn["role"], content)


def _mark(role: Role) -> str:
    return f"<|{role}|>"
