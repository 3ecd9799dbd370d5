"""How short tokenizers make texts of several languages, as a table and a JSON file.

python -m text.tokenizer_report --tokenizer runs/a/tokenizer.json --texts my_languages
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.cli import command, plain_options
from core.errors import UserError
from core.files import existing_file, new_file
from core.sources import find_files
from text.token_counts import TokenCounts, words
from text.tokenizer import TextTokenizer
from text.tokenizer_files import read_tokenizer

SUFFIXES = {".txt", ".jsonl"}
COLUMNS = {
    "bytes_a_token": "bytes a token",
    "characters_a_token": "characters a token",
    "fertility": "tokens a word",
    "used_share": "share used",
    "megabytes_a_second": "MB/s",
}
"""Of the table, by their names in the file."""


def report(
    tokenizer: list[str],
    texts: list[Path],
    field: str = "text",
    language: str = "language",
    out: Path | None = None,
) -> None:
    """Print bytes a token and fertility by tokenizer and language, and write them as JSON.

    Fertility is tokens a word. A word is what stands between white space and holds a letter or a
    digit; in scripts without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar, Tibetan) every letter is
    one. Each line of a file is encoded by itself, without begin and end.

    Args:
        tokenizer: tokenizer.json files, or text models' checkpoints.
        texts: Files or folders of them: .txt, whose name is the language, or .jsonl.
        field: Key of the text in a line of .jsonl.
        language: Key of the language in a line of .jsonl.
        out: JSON file to write.
    """
    loaded = {name: read_tokenizer(name) for name in tokenizer}
    rows = {
        name: {tongue: row.facts() for tongue, row in _measure(codec, texts, field, language)}
        for name, codec in loaded.items()
    }
    print("\n".join(table(rows)))
    if out is not None:
        held = {"tokenizers": {name: codec.digest for name, codec in loaded.items()}, "rows": rows}
        with new_file(out) as partial:
            partial.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", "utf-8")


def table(rows: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Return rows by tokenizer and language as the lines of a Markdown table."""
    lines = [
        f"| tokenizer | language | {' | '.join(COLUMNS.values())} |",
        f"{'| --- ' * (2 + len(COLUMNS))}|",
    ]
    for name, tongues in rows.items():
        for tongue, facts in tongues.items():
            numbers = " | ".join(f"{facts[column]:.3f}" for column in COLUMNS)
            lines.append(f"| {name} | {tongue} | {numbers} |")
    return lines


@dataclass
class Row:
    """One language by one tokenizer."""

    counts: TokenCounts
    """Texts and tokens."""
    words: int = 0
    """As `text.token_counts.words` counts."""
    seconds: float = 0.0
    """Spent on encoding."""

    def add(self, tokenizer: TextTokenizer, text: str) -> None:
        """Encode a text and count."""
        start = time.perf_counter()
        ids = tokenizer.encode(text)
        self.seconds += time.perf_counter() - start
        self.counts.add(ids, len(text.encode()), len(text))
        self.words += words(text)

    def facts(self) -> dict[str, Any]:
        """Return counts and shares as the file holds them."""
        return self.counts.facts() | {
            "words": self.words,
            "fertility": self.counts.tokens / max(1, self.words),
            "megabytes_a_second": self.counts.bytes / max(self.seconds, 1e-9) / 1e6,
        }


def _measure(
    tokenizer: TextTokenizer, texts: Sequence[Path], field: str, language: str
) -> Iterator[tuple[str, Row]]:
    """Yield languages in the order in which they are met."""
    rows: dict[str, Row] = {}
    for tongue, text in _texts(texts, field, language):
        row = rows.setdefault(tongue, Row(TokenCounts(len(tokenizer))))
        row.add(tokenizer, text)
    yield from rows.items()


def _texts(places: Sequence[Path], field: str, language: str) -> Iterator[tuple[str, str]]:
    """Yield language and text of every line."""
    for place in places:
        for path in find_files(place, SUFFIXES, Counter()):
            yield from _lines(existing_file(path), field, language)


def _lines(path: Path, field: str, language: str) -> Iterator[tuple[str, str]]:
    plain = path.suffix.lower() == ".txt"
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8-sig")
                pair = (path.stem, text) if plain else _pair(json.loads(text), field, language)
            except ValueError as error:
                raise UserError(
                    f"{path}, line {number}: {error}; a .txt must be UTF-8, and a line of .jsonl "
                    f"an object with strings under {language!r} and {field!r}"
                ) from None
            yield pair


def _pair(record: Any, field: str, language: str) -> tuple[str, str]:
    if not isinstance(record, dict):
        raise UserError("no object")
    tongue, text = record.get(language), record.get(field)
    if not isinstance(tongue, str) or not isinstance(text, str):
        raise UserError("a string is missing")
    return tongue, text


if __name__ == "__main__":
    command(report, plain_options(sys.argv[1:], lists=("--tokenizer", "--texts")))
