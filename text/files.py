"""The user's text: typed on the command line, or a file in UTF-8."""

import json
from collections.abc import Iterable
from pathlib import Path

from core.errors import UserError
from core.files import existing_file, new_file
from text.charsets import decode

LONGEST = 1_000
"""Characters; a caption has about thirty."""
SUFFIXES = frozenset({".txt", ".caption"})
"""Of files that hold a text, in letters of either size."""

LONGEST_NAME = 200
"""Characters of a text that may be a file's name; systems refuse to look for much longer ones."""


def read_text(value: str | Path) -> str:
    """Return the text, or what the .txt file of that name holds, with white space joined.

    A name in capitals (CAPTION.TXT) is one as well.
    """
    path = Path(value)
    is_file = isinstance(value, Path) or path.suffix.lower() in SUFFIXES
    if not is_file and _names_a_file(path):
        raise UserError(
            f"{value} is a file, but texts are read from {', '.join(sorted(SUFFIXES))}; rename it, "
            "or write the words themselves"
        )
    text = " ".join((_decode(existing_file(path)) if is_file else str(value)).split())
    if not text:
        raise UserError(f"the text {str(value)!r} is empty; write a few words")
    if len(text) > LONGEST:
        raise UserError(
            f"the text {text[:20]!r}... has {len(text)} characters but {LONGEST} are the limit; "
            "shorten it"
        )
    return text


def _names_a_file(path: Path) -> bool:
    """Tell whether there is a file of that name: one with a suffix, as a word may be one's name."""
    return 0 < len(path.suffix) < len(str(path)) < LONGEST_NAME and path.is_file()


def weigh_text(value: str | Path) -> int:
    """Return how many bytes a text has."""
    if isinstance(value, Path):
        return existing_file(value).stat().st_size
    return len(value.encode("utf-8", "replace"))


def as_texts(texts: str | Iterable[str]) -> tuple[str, ...]:
    """Return texts as a tuple; one string is one text, not its letters."""
    return (texts,) if isinstance(texts, str) else tuple(texts)


def read_prompts(path: Path) -> list[str]:
    """Return a file's prompts: its lines, or of a .jsonl file the JSON string of each line.

    A line of JSON may also be a record with the prompt under "prompt" or "text".
    """
    text = _decoded(existing_file(path)).replace("\r\n", "\n").replace("\r", "\n")
    # str.splitlines would also part at U+2028 and others, which stand within texts and strings.
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise UserError(f"{path} holds no prompt but blank lines; write one a line")
    if path.suffix.lower() == ".jsonl":
        return [_string(path, number, line) for number, line in enumerate(lines, 1)]
    return lines


def _string(path: Path, number: int, line: str) -> str:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        value = value.get("prompt", value.get("text"))
    if not isinstance(value, str):
        raise UserError(
            f"prompt {number} of {path} is {line[:40]!r} but must be a JSON string, in quotes, or"
            ' a record with one under "prompt"'
        )
    return value


def write_text(path: str | Path, text: str) -> None:
    """Write one text, with a line's end, as UTF-8."""
    with new_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8", newline="\n")


def _decode(path: Path) -> str:
    if path.stat().st_size > 8 * LONGEST:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes but a text of {LONGEST} characters is the "
            "limit; shorten it"
        )
    return _decoded(path)


def _decoded(path: Path) -> str:
    """Return a file's text: UTF-8, or what its byte order mark tells."""
    try:
        text = decode(path.read_bytes())
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 and try again"
        ) from None
    if "\0" in text:
        raise UserError(f"{path} holds zero bytes, which no text does; name a file of text")
    return text
