"""Conversations as the Hub's data sets hold them: lists of turns, or pairs of columns.

OpenAI's `messages`, ShareGPT's `conversations` (from, value), Alpaca (instruction, input, output)
and pairs such as (prompt, completion) or (question, answer).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.outcome import Hint, Hints
from core.sources import find_files
from core.tables import listed, rows_of, schema_of
from text.charsets import decode
from text.chat_template import Message, Role, check_turns

SUFFIXES = {".jsonl", ".json", ".parquet", ".arrow"}
LISTS = ("messages", "conversations", "conversation", "dialogue", "turns")
"""Keys of a list of turns."""
SIDECARS = {"state.json", "dataset_info.json", "dataset_dict.json"}
"""Files of a saved data set that hold no records."""
ROLES: dict[str, Role] = {
    **dict.fromkeys(("user", "human", "prompter", "instruction"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "bing", "bard"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
"""What data sets call who speaks."""
TOOLS = {"tool", "tools", "function", "function_call", "function_response", "observation",
         "ipython", "tool_call", "tool_response"}  # fmt: skip
PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("instruction", "completion"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("prompt", "chosen"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("input", "output"),
)
"""Keys of what is asked and of its answer, in the order in which they are looked for."""
FURTHER = ("input", "context")
"""What an instruction is about, if it is about something."""
SYSTEMS = ("system", "system_prompt")
HINTS: Hints = {
    "longer than the context": Hint("a larger --context keeps them"),
    "without an answer": Hint("the assistant says nothing in them"),
    "with the turns of tools": Hint("user, assistant and system can be told; take these out"),
    "with parts that are no text": Hint("pictures and sounds cannot be told"),
    "with turns out of order": Hint("user and assistant must take turns, the user first"),
}
"""Why a conversation is dropped, and what changes it."""


class Unusable(Exception):
    """A conversation that is one, but that the template has no words for; its reason."""


def read_records(source: Path, dropped: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Yield where each record of a file or folder stands, and the record.

    Args:
        source: JSON lines, a JSON list, Parquet or Arrow, or a folder with such files.
        dropped: Counts of files of other kinds.
    """
    if source.is_file() and source.suffix.lower() not in SUFFIXES:
        yield from _of_text(source)  # whatever it is called
        return
    for path in find_files(source, SUFFIXES, dropped):
        if path.name in SIDECARS or not listed(path):
            continue
        if path.suffix.lower() in (".parquet", ".arrow"):
            columns = schema_of(path).names
            rows = (row for part in rows_of(path) for row in part.read(columns))
            yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))
        else:
            yield from _of_text(path)


def messages_of(record: Any) -> list[Message]:
    """Return the conversation of a record, of any of the layouts.

    Raises:
        UserError: if it is of none of them.
        Unusable: if it is one that cannot be told.
    """
    messages = _turns(record)
    if not messages or messages[0].role != "system":
        messages = _system(record) + messages
    for message in messages:
        if "\0" in message.content:
            raise UserError("it has a zero character, which no text has")
    try:
        check_turns(messages)
    except UserError:
        raise Unusable("with turns out of order") from None
    return messages


def _of_text(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the records of JSON lines, or of one JSON list."""
    data = path.read_bytes()
    if not data.strip():
        raise UserError(f"{path} is empty; restore it, or name another file")
    try:
        text = decode(data)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: it is not UTF-8 (byte {error.start}); save the file as UTF-8"
        ) from None
    if path.suffix.lower() != ".jsonl" and text.lstrip().startswith(("[", "{")):
        try:
            yield from _of_value(path, json.loads(text))
            return
        except json.JSONDecodeError:
            pass  # lines, whatever the file is called
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", _parsed(path, number, line)


def _of_value(path: Path, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the records of a whole file of JSON: a list, or an object that holds one."""
    if isinstance(value, dict) and not _known(value):
        lists = [held for held in value.values() if isinstance(held, list)]
        value = lists[0] if len(lists) == 1 else value
    records = value if isinstance(value, list) else [value]
    yield from ((f"{path}, record {number}", record) for number, record in enumerate(records, 1))


def _parsed(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(
            f"{path}, line {number}: it is no JSON ({error}); mend it or take it out"
        ) from None


def _known(record: Mapping[str, Any]) -> bool:
    pairs = (pair for pair in PAIRS if pair[0] in record and pair[1] in record)
    return any(key in record for key in LISTS) or next(pairs, None) is not None


def _turns(record: Any) -> list[Message]:
    if isinstance(record, list):
        return _listed(record)
    if not isinstance(record, dict):
        raise UserError(f"it is {str(record)[:40]!r}, which is no record")
    for key in LISTS:
        if isinstance(record.get(key), list) and record[key]:
            return _listed(record[key])
    for asked, answer in PAIRS:
        if record.get(asked) is not None and record.get(answer) is not None:
            return _pair(record, asked, answer)
    raise UserError(
        f'it has no list of "messages" or "conversations", nor a pair such as "prompt" and'
        f' "completion" or "instruction" and "output"; its keys are {", ".join(map(str, record))}'
    )


def _pair(record: Mapping[str, Any], asked: str, answer: str) -> list[Message]:
    if isinstance(record[asked], list):  # of turns, as trl holds prompt and completion
        return _listed([*record[asked], *_as_list(record[answer])])
    if isinstance(record[answer], list) and record[answer] and isinstance(record[answer][0], dict):
        return _listed(record[answer])  # trl's chosen without a prompt apart holds both
    words = [_text(record[asked], asked)]
    if asked == "instruction":
        about = (record.get(key) for key in FURTHER)
        words += [_text(more, "input") for more in about if more]
    return [
        Message("user", "\n\n".join(words)),
        Message("assistant", _text(record[answer], answer)),
    ]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [{"role": "assistant", "content": value}]


def _system(record: Any) -> list[Message]:
    """Return what a column besides the turns says the system said."""
    if not isinstance(record, dict):
        return []
    told = [record[key] for key in SYSTEMS if isinstance(record.get(key), str)]
    return [Message("system", told[0])] if told and told[0].strip() else []


def _listed(turns: list[Any]) -> list[Message]:
    return [_message(turn, number) for number, turn in enumerate(turns, 1)]


def _message(turn: Any, number: int) -> Message:
    if not isinstance(turn, dict):
        raise UserError(f"message {number} is {str(turn)[:40]!r}, not a role and a content")
    role = str(turn.get("role") or turn.get("from")).lower()
    if role in TOOLS or turn.get("tool_calls"):
        raise Unusable("with the turns of tools")
    if role not in ROLES:
        raise UserError(f"message {number} has no role among {', '.join(ROLES)} but {role!r}")
    told = (turn.get(key) for key in ("content", "value", "text"))
    content = next((value for value in told if value is not None), None)
    return Message(ROLES[role], _text(content, f"message {number}"))


def _text(content: Any, name: str) -> str:
    """Return a text that may be a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, int | float) and not isinstance(content, bool):
        return str(content)  # an answer that is a number
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    raise UserError(f"{name} has no text as its content")


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, dict) else None
    if not isinstance(text, str):
        raise Unusable("with parts that are no text")
    return text
