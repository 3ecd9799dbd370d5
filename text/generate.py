"""Write texts from a checkpoint: python -m text.generate --checkpoint last.ckpt.

python -m text.generate --checkpoint runs/text/last.ckpt --prompt "ROMEO:" --count 4
python -m text.generate --checkpoint runs/text/last.ckpt --chat true
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from core.checkpoint import load_module
from core.cli import command
from core.embeddings import read_embeddings
from core.files import new_folder
from text.continuation import Author
from text.files import read_prompts, write_text
from text.module import TextModule
from text.packing import pack, to_int8
from text.sampling import TextOptions
from text.terminal import continue_texts, converse
from text.writing import Alphabet

DTypes = Literal["float32", "bfloat16"]
Quantisation = Literal["int8"]
LISTS = ("--prompt", "--stop")
"""Options of several values."""


def generate(
    checkpoint: str,
    out: str | None = None,
    embedding: str | None = None,
    prompt: tuple[str, ...] = (),
    prompts: Path | None = None,
    chat: bool = False,
    system: str | None = None,
    stop: tuple[str, ...] = (),
    count: int | None = None,
    seed: int = 0,
    batch: int = 16,
    dtype: DTypes = "float32",
    quantise: Quantisation | None = None,
    draft: str | None = None,
    ahead: int = 4,
    options: TextOptions = TextOptions(),
) -> None:
    """Print texts: unconditional, from embeddings, going on with prompts, or answers in a chat.

    Args:
        checkpoint: A last.ckpt of `python -m text.train`.
        out: Folder to write .txt files to; it must not exist.
        embedding: A .npy file of one embedding [E] or several [N, E], used in turn.
        prompt: Texts to go on with, one or several.
        prompts: A file of them: one a line, of a .jsonl file one JSON string a line.
        chat: Talk: each line that is typed is answered, until the input ends.
        system: What the model is told before the chat.
        stop: Strings that end a text; they are left out of it.
        count: Texts to write, of each prompt if there are any; by default 8, and 1 of each.
        seed: The first text's seed; the next has seed + 1.
        batch: Texts of prompts that are written side by side; it changes none of them.
        dtype: Type of weights and activations, with prompts or a chat.
        quantise: Weights in eight bits, with prompts or a chat.
        draft: Checkpoint of a smaller model of the same tokenizer that writes ahead, with prompts
            or a chat; what is written has the same distribution.
        ahead: Tokens that it writes ahead.
        options: How to sample.
    """
    module = load_module(checkpoint, TextModule)
    texts = [*prompt, *(read_prompts(prompts) if prompts else ())]
    if texts or chat:
        if embedding is not None:
            raise ValueError("--embedding is for captions, without a prompt; leave one out")
        texts, each = [text for text in texts for _ in range(count or 1)], seed
        rows = 1 if draft or chat else min(batch, len(texts))
        author = build_author(module, rows, dtype, quantise, draft, ahead)
        if chat:
            converse(author, options, seed, stop, system)
            return
        seeds = range(each, each + len(texts))
        written = continue_texts(author, texts, options, seeds, stop, rows)
    else:
        _check_unused(dtype != "float32", quantise, draft, stop)
        count = 8 if count is None else count
        cond = read_embeddings(embedding, count, module.cond_dim) if embedding else None
        written = module.generate(cond, options, seeds=range(seed, seed + count))
        print("\n".join(written))
    if out is not None:
        with new_folder(Path(out)) as folder:
            for i, text in enumerate(written):
                write_text(folder / f"{seed + i}.txt", text)


def build_author(
    module: TextModule,
    rows: int,
    dtype: DTypes = "float32",
    quantise: Quantisation | None = None,
    draft: str | None = None,
    ahead: int = 4,
) -> Author:
    """Return who goes on with so many texts side by side, made ready for it."""
    tokenizer = module.codec.tokenizer
    small = None
    if draft is not None:
        other = load_module(draft, TextModule)
        if other.codec.tokenizer.digest != tokenizer.digest:
            raise ValueError(
                f"the draft {draft} has tokenizer {other.codec.tokenizer.digest[:12]} but the model"
                f" has {tokenizer.digest[:12]}; draft with a model of the same tokenizer"
            )
        small = pack(other.net.to(getattr(torch, dtype)), 1)
    net = module.net.to(getattr(torch, dtype))
    net = to_int8(net) if quantise else pack(net, rows)
    return Author(net, tokenizer, Alphabet.of(tokenizer), draft=small, ahead=ahead)


def listed(argv: Sequence[str], options: Sequence[str] = LISTS) -> list[str]:
    """Rewrite options of several values as the parser takes them, whatever the values hold.

    `--stop "END" "a, b"` becomes `--stop=["END", "a, b"]`.
    """
    words, found = list(argv), []
    while words:
        word = words.pop(0)
        if word not in options:
            found.append(word)
            continue
        values = []
        while words and not words[0].startswith("--"):
            values.append(words.pop(0))
        found.append(f"{word}={json.dumps(values)}")
    return found


def _check_unused(*given: object) -> None:
    if any(given):
        raise ValueError(
            "--dtype, --quantise, --draft and --stop go with --prompt, --prompts or --chat; leave"
            " them out"
        )


if __name__ == "__main__":
    command(generate, listed(sys.argv[1:]))
