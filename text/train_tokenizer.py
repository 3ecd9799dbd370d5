"""Learn a tokenizer: python -m text.train_tokenizer --shards data/world/train --out runs/tokens.

Not needed before `text.train`, which learns its own; a shared one makes runs comparable by token.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from core.cli import command
from core.files import new_file
from core.shards import ShardReader
from text.token_counts import count
from text.tokenizer import TextTokenizer
from text.tokenizer_files import TOKENIZER, write_tokenizer
from text.tokenizer_kinds import Kind

MEMBERS = ("txt", "query.txt")
"""What to read of a sample: the complete caption and, where there is one, the partial one."""


def train_tokenizer(
    shards: str,
    out: str,
    vocabulary: int | None = None,
    kind: Kind = "bpe",
    chat: bool = False,
) -> None:
    """Write a tokenizer.json learned from the texts of a folder of shards.

    A report.json beside it holds how short it makes these texts.

    Args:
        shards: Folder of shards with `txt` members.
        out: Folder to write tokenizer.json to.
        vocabulary: Tokens at most, bytes and special ones among them; by default 512 of bpe, and
            all characters of char.
        kind: Pairs of bytes, characters, or bytes.
        chat: Have the special tokens of a chat: <|system|>, <|user|>, <|assistant|>, <|end|>.
    """
    learned = TextTokenizer.train(shard_texts(shards), vocabulary, kind, chat=chat)
    path = Path(out) / TOKENIZER
    write_tokenizer(learned, path)
    counts = count(learned, shard_texts(shards))
    report = {"tokenizer": learned.digest, "kind": kind} | counts.facts()
    with new_file(path.with_name("report.json")) as partial:
        partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {len(learned)} tokens; {counts}")


def shard_texts(folder: str) -> Iterator[str]:
    """Yield every text of a folder of shards."""
    reader = ShardReader(folder)
    for i in range(len(reader)):
        members = reader.read(i, MEMBERS)
        for name in MEMBERS:
            if name in members:
                yield members[name].decode()


if __name__ == "__main__":
    command(train_tokenizer)
