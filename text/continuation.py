"""A language model's use: prompts in, what follows them out, piece by piece."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from core.noise import seeds_tensor
from text.model import TextModel
from text.sampling import TextOptions
from text.speculative import Speculation
from text.stream import TextStream
from text.tokenizer import TextTokenizer
from text.writing import Alphabet, Step, Writing

Tell = Callable[[int, str], None]
"""Told of each text's number and its next piece as they come."""
Ending = Literal["end", "stop", "length", "context"]
"""Why a text ended: its end token, a stop string, `max_tokens`, or a context that is full."""


@dataclass(frozen=True)
class Continuation:
    """What was written after a prompt."""

    text: str
    """Without prompt, end and stop string."""
    tokens: int
    """Tokens that were written, an end among them."""
    ending: Ending
    """Why it ended."""
    drafted: int = 0
    """Tokens that a smaller model wrote ahead."""
    stood: int = 0
    """Those of them that stand in the text."""


@dataclass(frozen=True)
class Author:
    """A model and its tokenizer, ready to go on with texts."""

    net: TextModel
    """Without a condition, or with one that is left out."""
    tokenizer: TextTokenizer
    """Its tokenizer."""
    alphabet: Alphabet
    """What may be written."""
    step: Step | None = None
    """The model's step, or what does the same in less time."""
    draft: TextModel | None = None
    """A smaller model of the same tokenizer that writes ahead; texts are then written singly."""
    ahead: int = 4
    """Tokens that it writes ahead."""

    def begin(
        self, prompts: Sequence[Sequence[int]], options: TextOptions, seeds: Int[Tensor, "B"]
    ) -> Writing | Speculation:
        """Read prompts and return what goes on with them."""
        if self.draft is not None:
            (prompt,) = prompts
            return Speculation(
                self.net, self.draft, prompt, options, seeds, self.alphabet, self.ahead
            )
        return Writing(self.net, prompts, options, seeds, self.alphabet, step=self.step)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a prompt."""
        return [self.alphabet.begin, *self.tokenizer.encode(text)]


@torch.inference_mode()
def go_on(
    author: Author,
    prompts: Sequence[Sequence[int]],
    options: TextOptions,
    seeds: Sequence[int],
    stop: Sequence[str] = (),
    tell: Tell = lambda row, piece: None,
) -> list[Continuation]:
    """Return what follows each prompt; none of them depends on the others.

    Args:
        author: Who writes.
        prompts: Ids, as `Author.prompt` gives them; at least one, and only one with a draft.
        options: How to write.
        seeds: One a prompt.
        stop: Strings that end a text; they are left out of it.
        tell: Is called with each text's number and its next piece as they come.
    """
    assert len(prompts) == len(seeds) > 0
    device = next(author.net.parameters()).device
    writing = author.begin(prompts, options, seeds_tensor(seeds, device))
    rows = [_Row(TextStream(author.tokenizer, stop, before=prompt)) for prompt in prompts]
    while not writing.done:
        going = (~writing.ended).tolist()
        for i, token in enumerate(writing.step().tolist()):
            if going[i]:
                tell(i, rows[i].take(token, author.alphabet, options))
                if rows[i].ending == "stop":
                    writing.end(i)
    for i, row in enumerate(rows):
        tell(i, row.close())
    ahead = (writing.drafted, writing.stood) if isinstance(writing, Speculation) else (0, 0)
    return [Continuation(row.stream.text, row.tokens, row.ending, *ahead) for row in rows]


@dataclass
class _Row:
    """One text on its way."""

    stream: TextStream
    tokens: int = 0
    ending: Ending = "context"

    def take(self, token: int, alphabet: Alphabet, options: TextOptions) -> str:
        """Take a token and return the text that is certain by it."""
        self.tokens += 1
        if token in alphabet.ends:
            self.ending = "end"
            return ""
        piece = self.stream.feed(token)
        if self.stream.stopped:
            self.ending = "stop"
        elif self.tokens == options.max_tokens:
            self.ending = "length"
        return piece

    def close(self) -> str:
        piece = self.stream.close()
        self.ending = "stop" if self.stream.stopped else self.ending
        return piece
