"""Writing for people: texts appear as they are written, and a chat goes on until its input ends."""

import sys
from collections.abc import Iterable, Sequence

from core.errors import UserError
from text.chat import chat_author, read_before_answering
from text.chat_template import Message
from text.continuation import Author, Continuation, go_on
from text.sampling import TextOptions

ROOM = 4
"""An answer has at least the context's share 1 / ROOM."""


def continue_texts(
    author: Author,
    texts: Sequence[str],
    options: TextOptions,
    seeds: Sequence[int],
    stop: Sequence[str],
    batch: int,
) -> list[str]:
    """Print what follows each text, at once if there is one only, and return the whole texts."""
    prompts = [author.prompt(text) for text in texts]
    whole = []
    for start in range(0, len(texts), batch):
        part = slice(start, start + batch)
        if len(texts) == 1:
            _print(texts[0])
            found = go_on(author, prompts, options, seeds, stop, lambda _, piece: _print(piece))
            _print("\n")
        else:
            found = go_on(author, prompts[part], options, seeds[part], stop)
            for text, seed, made in zip(texts[part], seeds[part], found, strict=True):
                _print(f"--- {seed}\n{text}{made.text}\n")
        for seed, made in zip(seeds[part], found, strict=True):
            _say_how(author, made, f"text {seed}")
        whole += [a + b.text for a, b in zip(texts[part], found, strict=True)]
    return whole


def converse(
    author: Author,
    options: TextOptions,
    seed: int,
    stop: Sequence[str] = (),
    system: str | None = None,
    lines: Iterable[str] | None = None,
) -> list[Message]:
    """Answer line after line until there are no more, and return the conversation.

    Args:
        author: Who answers.
        options: How.
        seed: The first answer's; the next has one more.
        stop: Strings that end an answer.
        system: What the model is told beforehand.
        lines: What the user says; by default what is typed.
    """
    author = chat_author(author)
    turns = [] if system is None else [Message("system", system)]
    for line in _typed() if lines is None else lines:
        if not line.strip():
            continue
        turns.append(Message("user", line.strip()))
        answer = _answer(author, turns, options, seed, stop)
        if answer is None:
            turns.pop()
            continue
        turns.append(Message("assistant", answer))
        seed += 1
    return turns


def _answer(
    author: Author, turns: list[Message], options: TextOptions, seed: int, stop: Sequence[str]
) -> str | None:
    """Print and return an answer; None if the question was too long."""
    context = author.net.config.context
    try:
        ids, kept = read_before_answering(author.tokenizer, turns, context - context // ROOM)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return None
    if kept < len(turns):
        print(f"(the oldest {len(turns) - kept} turns do not fit any more)", file=sys.stderr)
    (made,) = go_on(author, [ids], options, [seed], stop, lambda _, piece: _print(piece))
    _print("\n")
    _say_how(author, made, "the answer")
    return made.text


def _say_how(author: Author, made: Continuation, name: str) -> None:
    """Say what a text does not show: that it had to end, and how well it was drafted."""
    if made.ending == "context":
        full = f"the context of {author.net.config.context} tokens is full"
        print(f"({name} ends here: {full})", file=sys.stderr)
    if made.drafted:
        share = made.stood / made.drafted
        print(f"({name}: {share:.0%} of {made.drafted} drafted tokens stood)", file=sys.stderr)


def _typed() -> Iterable[str]:
    """Yield what is typed, line by line."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line


def _print(piece: str) -> None:
    """Write at once: who waits wants to see each piece."""
    sys.stdout.write(piece)
    sys.stdout.flush()
