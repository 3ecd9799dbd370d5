"""Documents as one stream of tokens, cut in pieces: what pretraining reads.

python -m text.tokens --shards data/texts --tokenizer bpe --vocabulary 4096 --out data/tokens
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from core.cli import command
from core.engine import Engine, EngineName, engine_named, map_in_order
from core.errors import UserError
from core.files import new_folder
from core.manifest import Manifest
from core.members import encode_npy
from core.shard_writer import ShardWriter, check_absent
from core.splits import SPLITS, with_progress
from core.storage import below
from text.documents import Encoded, documents, encoder
from text.token_counts import TokenCounts
from text.tokenizer import TextTokenizer
from text.tokenizer_files import TOKENIZER, read_tokenizer
from text.tokenizer_kinds import Kind
from text.windows import MEMBER


def tokens(
    shards: str,
    tokenizer: str,
    out: Path,
    vocabulary: int | None = None,
    chat: bool = False,
    piece: int = 65536,
    engine: EngineName = "local",
    workers: int | None = None,
    address: str | None = None,
) -> None:
    """Write documents as tokens: `<bos> ids <eos>` of one behind the other, in pieces.

    What is printed of a split counts its texts' tokens without begins and ends.

    Args:
        shards: Folder with documents: train and val with `txt` members, or its URL.
        tokenizer: bpe, char or byte to learn one from the training documents; or a tokenizer.json,
            or a text model's checkpoint, to take its.
        out: Folder to write; train, val and tokenizer.json appear in it.
        vocabulary: Tokens at most of a tokenizer to learn.
        chat: Whether a tokenizer to learn has the special tokens of a chat.
        piece: Tokens of a sample; the last of a split may have fewer.
        engine: `local` works on this machine, `ray` on a Ray cluster (the extra `ray`).
        workers: Processes or, with Ray, tasks at a time; 1 by default, with Ray all cores.
        address: The Ray cluster, as host:port or auto; by default one is started here.
    """
    if piece < 2:
        raise UserError(f"piece is {piece} but must be 2 tokens or more")
    chosen = engine_named(engine, workers, address)
    check_absent(out)
    codec = _tokenizer(tokenizer, below(shards, "train"), vocabulary, chat=chat)
    options = {
        "tokenizer": Path(tokenizer).name,
        "vocabulary": vocabulary,
        "chat": chat,
        "piece": piece,
    }
    builder = {"command": "text.tokens", **options}
    with new_folder(out) as folder:
        (folder / TOKENIZER).write_text(codec.json, encoding="utf-8")
        for split in SPLITS:
            _write(folder, shards, split, codec, builder, chosen)


def cut(streams: Iterable[np.ndarray], piece: int) -> Iterator[np.ndarray]:
    """Yield the concatenated arrays in pieces of one length; the last may be shorter."""
    held: list[np.ndarray] = []
    size = 0
    for stream in streams:
        held.append(stream)
        size += len(stream)
        if size >= piece:
            whole = np.concatenate(held)
            until = size - size % piece
            yield from whole[:until].reshape(-1, piece)
            held, size = [whole[until:]], size - until
    if size:
        yield np.concatenate(held)


def _tokenizer(
    name: str, train: str | Path, vocabulary: int | None, *, chat: bool
) -> TextTokenizer:
    """Learn a tokenizer of the kind that is named, or read the file."""
    if name in get_args(Kind):
        kind: Any = name
        texts = () if kind == "byte" else documents(train)
        return TextTokenizer.train(texts, vocabulary, kind, chat=chat)
    if vocabulary is not None or chat:
        raise UserError(
            f"{name} is a tokenizer that was learned; leave --vocabulary and --chat out, or name "
            f"one of {', '.join(get_args(Kind))} to learn another"
        )
    if not Path(name).exists():
        raise UserError(
            f"{name} is neither {', '.join(get_args(Kind))} nor a file; name a kind to learn, a "
            "tokenizer.json or a checkpoint"
        )
    return read_tokenizer(name)


def _write(
    out: Path,
    shards: str,
    split: str,
    codec: TextTokenizer,
    builder: dict[str, Any],
    engine: Engine,
) -> None:
    """Write one split."""
    of, counts = Manifest.load(below(shards, split)), TokenCounts(len(codec))
    about = Manifest(0, (), (MEMBER,), of.source, of.licence)
    place = below(shards, split)
    work = encoder(place, of.dataset_id, out / TOKENIZER, codec.digest)
    encoded = map_in_order(engine, work, range(of.samples))
    ids = _counted(with_progress(encoded, split, of.samples), counts, codec)
    with ShardWriter(out / split, about) as writer:
        for number, piece in enumerate(cut(ids, builder["piece"])):
            writer.add({"__key__": f"{number:08d}", MEMBER: encode_npy(torch.from_numpy(piece))})
        writer.about = replace(
            about,
            builder=builder | {"of": of.dataset_id},
            fields=_fields(counts, builder["piece"], codec),
        )
        total = writer.finish({}).fields["tokens"]
    print(f"{split}: {total:,} tokens of {counts.texts:,} documents; {counts}")


def _counted(
    encoded: Iterable[Encoded], counts: TokenCounts, codec: TextTokenizer
) -> Iterator[np.ndarray]:
    """Yield the ids of documents, and count what is between begin and end."""
    begin = _marks(codec) - 1
    for document in encoded:
        counts.add(document.ids[begin:-1], document.bytes, document.characters)
        yield document.ids


def _marks(codec: TextTokenizer) -> int:
    """Return how many tokens a document has besides its text."""
    return 1 if codec.bos is None else 2


def _fields(counts: TokenCounts, piece: int, codec: TextTokenizer) -> dict[str, Any]:
    return {
        "tokens": counts.tokens + counts.texts * _marks(codec),
        "piece": piece,
        "vocabulary": len(codec),
        "documents": counts.texts,
        "bytes": counts.bytes,
        "characters": counts.characters,
        "used": len(counts.used),
        "tokenizer": codec.digest,
    }


if __name__ == "__main__":
    command(tokens)
