"""Write texts from a checkpoint: python -m text.generate --checkpoint last.ckpt.

python -m text.generate --checkpoint runs/text/last.ckpt --prompt "ROMEO:" --count 4
python -m text.generate --checkpoint runs/text/last.ckpt --chat true
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.checkpoint import load_module
from core.cli import command, quoted_lists
from core.embeddings import read_embeddings
from core.errors import UserError
from core.files import new_folder
from text.continuation import Author
from text.files import as_texts, read_prompts, write_text
from text.module import TextModule
from text.native.library import at_hand
from text.packing import DType, Quantisation, prepared, quick_step
from text.sampling import TextOptions
from text.terminal import continue_texts, converse
from text.writing import Alphabet

LISTS = ("--prompt", "--stop")
"""Options of several values."""


def generate(
    checkpoint: str,
    out: str | None = None,
    embedding: str | None = None,
    prompt: tuple[str, ...] | str = (),
    prompts: Path | None = None,
    chat: bool = False,
    system: str | None = None,
    stop: tuple[str, ...] | str = (),
    count: int | None = None,
    seed: int = 0,
    batch: int = 16,
    dtype: DType = "float32",
    quantise: Quantisation | None = None,
    native: bool | None = None,
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
        quantise: Weights in eight bits, with prompts or a chat, in C++.
        native: Take a step in C++, with prompts or a chat, which is compiled once a machine, in
            seconds; by default where there is a compiler, and in PyTorch elsewhere.
        draft: Checkpoint of a smaller model of the same tokenizer that writes ahead, with prompts
            or a chat; what is written has the same distribution.
        ahead: Tokens that it writes ahead.
        options: How to sample.
    """
    module = load_module(checkpoint, TextModule)
    prompt, stop = as_texts(prompt), as_texts(stop)
    texts = [*prompt, *(read_prompts(prompts) if prompts else ())]
    _check(texts, chat, embedding, {
        "--dtype": dtype != "float32", "--quantise": quantise, "--native": native,
        "--draft": draft, "--stop": stop,
    })  # fmt: skip
    if not (texts or chat):
        count = 8 if count is None else count
        cond = read_embeddings(embedding, count, module.cond_dim) if embedding else None
        written = module.generate(cond, options, seeds=range(seed, seed + count))
        print("\n".join(written))
    else:
        texts = [text for text in texts for _ in range(count or 1)]
        rows = 1 if draft or chat else min(batch, len(texts))
        author = build_author(module, rows, dtype, quantise, native)
        if draft is not None:
            author = join(author, draft, ahead, dtype)
        if chat:
            converse(author, options, seed, stop, system)
            return
        seeds = range(seed, seed + len(texts))
        written = continue_texts(author, texts, options, seeds, stop, rows)
    if out is not None:
        _write(Path(out), written, seed)


def build_author(
    module: TextModule, rows: int, dtype: DType, quantise: Quantisation | None, native: bool | None
) -> Author:
    """Return who goes on with so many texts side by side, made ready for it."""
    tokenizer = module.codec.tokenizer
    native = at_hand() if native is None else native
    net = prepared(module.net, rows, dtype, quantise, native=native)
    return Author(net, tokenizer, Alphabet.of(tokenizer), quick_step(net))


def join(author: Author, draft: str, ahead: int, dtype: DType) -> Author:
    """Return an author for whom a smaller model, of a checkpoint, writes ahead."""
    other = load_module(draft, TextModule)
    ours, theirs = author.tokenizer.digest, other.codec.tokenizer.digest
    if ours != theirs:
        raise UserError(
            f"the draft {draft} has tokenizer {theirs[:12]} but the model has {ours[:12]}; draft"
            " with a model of the same tokenizer"
        )
    return replace(author, draft=prepared(other.net, 1, dtype), ahead=ahead)


def _check(
    texts: Sequence[str], chat: bool, embedding: str | None, given: dict[str, object]
) -> None:
    """Raise if options are given that would be ignored."""
    if texts or chat:
        if embedding is not None:
            raise UserError("--embedding is for captions, without a prompt; leave one out")
        return
    unused = [name for name, value in given.items() if value]
    if unused:
        raise UserError(
            f"{', '.join(unused)} would be ignored without --prompt, --prompts or --chat; give one"
            " of these"
        )


def _write(path: Path, texts: Sequence[str], seed: int) -> None:
    with new_folder(path) as folder:
        for i, text in enumerate(texts):
            write_text(folder / f"{seed + i}.txt", text)


if __name__ == "__main__":
    command(generate, quoted_lists(sys.argv[1:], LISTS))
