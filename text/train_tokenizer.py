"""Learn a tokenizer: python -m text.train_tokenizer --shards data/world/train --out runs/tokens.

Not needed before `text.train`, which learns its own; a shared one makes runs comparable by token.
"""

from collections.abc import Iterator
from pathlib import Path

from core.cli import command
from core.files import new_file
from core.shards import ShardReader
from text.tokenizer import TextTokenizer

MEMBERS = ("txt", "query.txt")
"""What to read of a sample: the complete caption and, where there is one, the partial one."""


def train_tokenizer(shards: str, out: str, vocabulary: int = 512) -> None:
    """Write a tokenizer.json learned from the texts of a folder of shards.

    Args:
        shards: Folder of shards with `txt` members.
        out: Folder to write tokenizer.json to.
        vocabulary: Tokens at most, the 256 bytes and 3 special ones among them.
    """
    learned = TextTokenizer.train(shard_texts(shards), vocabulary)
    path = Path(out) / "tokenizer.json"
    with new_file(path) as partial:
        partial.write_text(learned.json, encoding="utf-8")
    print(f"{path}: {len(learned)} tokens")


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
