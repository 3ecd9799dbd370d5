"""Conversations as rows of tokens, packed by best fit: what a model is taught to answer from.

python -m text.conversations --source chats.jsonl --tokenizer runs/text/last.ckpt --out data/chat
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int32

from core.cli import command, plain_options
from core.errors import UserError
from core.files import new_folder
from core.manifest import Manifest
from core.members import encode_npy
from core.outcome import FLAGS, Outcome
from core.shard_writer import ShardWriter, check_absent
from core.splits import SPLITS
from text.best_fit import best_fit
from text.chat_records import HINTS, Unusable, messages_of, read_records
from text.chat_template import Told, chat_marks, tell
from text.tokenizer import TextTokenizer
from text.tokenizer_files import TOKENIZER, read_tokenizer, write_tokenizer
from text.windows import IGNORE

ROW = "row.npy"
"""Of a sample: tokens, targets and the number of each token's conversation, int32 [3, T]."""
TOO_LONG = "longer than the context"


def conversations(
    source: Path,
    tokenizer: str,
    out: Path,
    context: int | None = None,
    val_fraction: float = 0.1,
    licence: str = "not stated",
    seed: int = 0,
    strict: bool = False,
) -> None:
    """Write conversations as rows of tokens with the assistant's alone to learn.

    A record is `{"messages": [{"role": "user", "content": "..."}, ...]}`, ShareGPT's
    `{"conversations": [{"from": "human", "value": "..."}, ...]}`, Alpaca's instruction, input and
    output, or a pair such as prompt and completion, or question and answer; a content may be a list
    of parts. User and assistant take turns, the system speaks at the start only. None is cut: those
    that do not fit the context are dropped and counted, and so are those that were there before, in
    which the assistant says nothing, or in which tools speak. All of them are held in memory.

    Args:
        source: JSON lines, a JSON list, Parquet or Arrow, or a folder with such files.
        tokenizer: A text model's checkpoint, or a tokenizer.json, with a chat's special tokens.
        out: Folder to write; train, val and tokenizer.json appear in it.
        context: Tokens a row; by default the checkpoint's.
        val_fraction: Share of conversations for validation, chosen by a hash of their content.
        licence: Licence of the texts, for the manifest.
        seed: Seed of the order of the rows.
        strict: Fail, and write nothing, if more than a tenth of the conversations is dropped.
    """
    if not 0 < val_fraction < 1:
        raise UserError(f"val_fraction is {val_fraction} but must lie between 0 and 1")
    check_absent(out)
    codec, room = read_tokenizer(tokenizer), _room(tokenizer, context)
    chat_marks(codec)
    dropped: Counter[str] = Counter()
    told = _fitting(_told(source, codec, dropped), room, dropped)
    parts = _split(_distinct(told, dropped), dropped, val_fraction)
    outcome = Outcome(sum(map(len, parts)), dropped, hints=HINTS)
    if strict:
        outcome.check(out)
    about = Manifest(0, (), (ROW,), source.name, licence)
    builder = {"command": "text.conversations", "context": room, "val_fraction": val_fraction}
    with new_folder(out) as folder:
        write_tokenizer(codec, folder / TOKENIZER)
        for split, told in zip(SPLITS, parts, strict=True):
            packed = pack(told, room)
            facts = _facts(told, packed, codec) | {"context": room}
            _write(folder / split, packed, about, builder | {"seed": seed}, facts, dropped)
            print(f"{split}: {_line(facts)}")
    for reason, count in sorted(dropped.items()):
        print(f"dropped {count}: {reason}")
    print(outcome.line(out))


@dataclass(frozen=True)
class Packed:
    """Rows of conversations."""

    rows: list[Int32[np.ndarray, "3 T"]]
    """Tokens, targets (IGNORE where none is learned), conversations (from 1; 0 is padding)."""
    filled: int
    """Places that are no padding."""


def pack(told: Sequence[Told], room: int) -> Packed:
    """Put conversations into rows by best fit.

    A conversation of n tokens takes n - 1 places: nothing comes after its last token.
    """
    sizes = [len(one.ids) - 1 for one in told]
    rows = [_row([told[i] for i in numbers], room) for numbers in best_fit(sizes, room)]
    return Packed(rows, sum(sizes))


def _row(told: Sequence[Told], room: int) -> Int32[np.ndarray, "3 T"]:
    row = np.zeros((3, room), dtype=np.int32)
    row[1] = IGNORE
    place = 0
    for number, one in enumerate(told, 1):
        stop = place + len(one.ids) - 1
        targets = np.where(one.learned[1:], one.ids[1:], IGNORE)
        row[:, place:stop] = [one.ids[:-1], targets, [number] * (stop - place)]
        place = stop
    return row


def _room(tokenizer: str, context: int | None) -> int:
    """Return the tokens of a row: what is asked for, or a checkpoint's context."""
    if context is None and (Path(tokenizer).suffix == ".json" or Path(tokenizer).is_dir()):
        raise UserError("a tokenizer.json has no context; give --context, or a checkpoint")
    if context is None:
        from core.checkpoint import read_checkpoint

        context = int(read_checkpoint(tokenizer, "text")["unison"]["init"]["model"]["context"])
    if context < 3:
        raise UserError(f"context is {context} but a question and its answer need 3 or more")
    return context


def _told(source: Path, codec: TextTokenizer, dropped: Counter[str]) -> Iterator[Told]:
    """Yield the conversations of a source; a record that holds none is the user's mistake."""
    for where, record in read_records(source, dropped):
        try:
            yield tell(messages_of(record), codec)
        except Unusable as reason:
            dropped[str(reason)] += 1
        except UserError as error:
            raise UserError(f"{where}: {error}; mend it or take it out") from None


def _fitting(told: Iterator[Told], room: int, dropped: Counter[str]) -> Iterator[Told]:
    for one in told:
        if len(one.ids) - 1 > room:
            dropped[TOO_LONG] += 1
        elif not any(one.learned):
            dropped["without an answer"] += 1
        else:
            yield one


def _distinct(told: Iterator[Told], dropped: Counter[str]) -> dict[bytes, Told]:
    """Return the conversations by the hash of their tokens, each once."""
    held: dict[bytes, Told] = {}
    for one in told:
        digest = hashlib.sha256(np.array(one.ids, dtype="<i4").tobytes()).digest()
        if digest in held:
            dropped["duplicate"] += 1
        else:
            held[digest] = one
    return held


def _split(
    held: dict[bytes, Told], dropped: Counter[str], val_fraction: float
) -> tuple[list[Told], list[Told]]:
    """Return those to train on and those to validate on; a conversation stays where it is."""
    if len(held) < 2:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
        raise UserError(
            f"{len(held)} usable conversations were found but two splits need at least 2 (dropped: "
            f"{reasons or 'none'}); add some, or raise --context"
        )
    shares = {digest: int.from_bytes(digest[:6]) / 2**48 for digest in held}
    limit = min(max(val_fraction, min(shares.values()) + 2**-48), max(shares.values()))
    train = [one for digest, one in held.items() if shares[digest] >= limit]
    return train, [one for digest, one in held.items() if shares[digest] < limit]


def _facts(told: Sequence[Told], packed: Packed, codec: TextTokenizer) -> dict[str, Any]:
    return {
        "conversations": len(told),
        "tokens": packed.filled,
        "learned": sum(sum(one.learned) for one in told),
        "vocabulary": len(codec),
        "tokenizer": codec.digest,
        "filled": packed.filled / (len(packed.rows) * packed.rows[0].shape[1]),
    }


def _line(facts: dict[str, Any]) -> str:
    return (
        f"{facts['conversations']:,} conversations, {facts['tokens']:,} tokens of which "
        f"{facts['learned']:,} are learned, in rows of {facts['context']:,} that are "
        f"{100 * facts['filled']:.1f}% full"
    )


def _write(
    folder: Path,
    packed: Packed,
    about: Manifest,
    builder: dict[str, Any],
    facts: dict[str, Any],
    dropped: Counter[str],
) -> None:
    """Write the rows in an order of no meaning: best fit begins with the longest."""
    order = np.random.default_rng(builder["seed"]).permutation(len(packed.rows))
    with ShardWriter(folder, replace(about, builder=builder, fields=facts)) as writer:
        for number, row in enumerate(order.tolist()):
            data = encode_npy(torch.from_numpy(packed.rows[row]))
            writer.add({"__key__": f"{number:08d}", ROW: data})
        writer.finish(dropped)


if __name__ == "__main__":
    command(conversations, plain_options(sys.argv[1:], flags=FLAGS))
