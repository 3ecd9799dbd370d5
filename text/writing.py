"""Writing: one token after another, each text by its own seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.errors import UserError
from core.noise import uniform_streams
from text.memory import Memory
from text.model import TextModel
from text.sampling import TextOptions, penalise, pick
from text.tokenizer import BOS, EOS, PAD, TextTokenizer

BLOCK = 64
"""Tokens whose random numbers are drawn at once."""
Step = Callable[[Int[Tensor, "B"], Memory], Float[Tensor, "B V"]]
"""Reads one more token a row and returns the logits of the next, as `TextModel.step` does."""


@dataclass(frozen=True)
class Alphabet:
    """Which tokens may be written, and what they mean."""

    size: int
    """Tokens of the tokenizer; the model's table may have more rows."""
    begin: int = BOS
    """Begins a text."""
    ends: tuple[int, ...] = (EOS,)
    """Tokens that end a text; the first of them fills up those that have ended."""
    silent: tuple[int, ...] = (PAD, BOS)
    """Tokens that are never written."""

    @classmethod
    def of(
        cls,
        tokenizer: TextTokenizer,
        *,
        also_ends: Sequence[int] = (),
        also_silent: Sequence[int] = (),
    ) -> "Alphabet":
        """Return a tokenizer's, with further tokens that end a text, or are never written.

        A tokenizer without a token that begins a text begins one with its end, as GPT-2's does.
        """
        begin = tokenizer.eos if tokenizer.bos is None else tokenizer.bos
        ends = (tokenizer.eos, *also_ends)
        unwritten = (tokenizer.pad, tokenizer.bos, *also_silent)
        silent = {i for i in unwritten if i is not None} - set(ends)
        return cls(len(tokenizer), begin, ends, tuple(sorted(silent)))

    @cached_property
    def first(self) -> int:
        """The first token that is not silent."""
        return next(i for i in range(self.size) if i not in self.silent)

    def of_logits(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, "B W"]:
        """Return the logits of what may be written, from the first token on."""
        logits = logits[:, self.first : self.size]
        for token in self.silent:
            if token > self.first:
                logits = logits.index_fill(1, torch.tensor(token - self.first), float("-inf"))
        return logits


class Writing:
    """Texts that are being written side by side, none of which knows of the others.

    Args:
        model: Gives the logits.
        prompts: The ids that each text begins with, `alphabet.begin` among them.
        options: How to write.
        seeds: One a text; the n-th token is drawn with the n-th stream of its seed.
        alphabet: What may be written.
        cond: What to write about; None for anything.
        step: The model's step, or what does the same in less time.

    Raises:
        ValueError: if a prompt leaves no room for a token.
    """

    def __init__(
        self,
        model: TextModel,
        prompts: Sequence[Sequence[int]],
        options: TextOptions,
        seeds: Int[Tensor, "B"],
        alphabet: Alphabet,
        cond: Float[Tensor, "B E"] | None = None,
        step: Step | None = None,
    ):
        self.options, self.seeds, self.alphabet = options, seeds, alphabet
        self.step_of = step or model.step
        self.guided = cond is not None and options.guidance != 1
        self.room = room(prompts, model.config.context, options).to(seeds.device)
        self.written = 0
        self.ended = torch.zeros(len(prompts), dtype=torch.bool, device=seeds.device)
        self.seen = self._seen(prompts) if options.repetition_penalty != 1 else None
        self._draws = torch.zeros(1, len(prompts), device=seeds.device)
        self.last: Int[Tensor, "B"] | None = None
        prefix = model.prefix(cond, len(prompts))
        if self.guided:
            prefix = torch.cat([prefix, model.prefix(None, len(prompts))])
        ids, padding = _padded(prompts, alphabet.begin, seeds.device)
        self.memory = model.begin(prefix, ids.shape[1] + int(self.room.max()))
        twice = 1 + self.guided
        self._first = model.read_prompts(ids.repeat(twice, 1), self.memory, padding.repeat(twice))

    @property
    def done(self) -> bool:
        """Whether all texts have ended."""
        return bool(self.ended.all())

    def end(self, row: int) -> None:
        """End a text."""
        self.ended[row] = True

    def step(self) -> Int[Tensor, "B"]:
        """Return the next token of each text; of those that have ended it is the end."""
        logits = self.alphabet.of_logits(self._logits())
        if self.seen is not None:
            logits = penalise(logits, self.seen, self.options.repetition_penalty)
        draw = self._draw()
        choice = self.alphabet.first + pick(logits, draw, self.options)
        last = choice.masked_fill_(self.ended, self.alphabet.ends[0])
        if self.seen is not None:
            self.seen.scatter_(1, (last - self.alphabet.first)[:, None], True)
        for token in self.alphabet.ends:
            self.ended |= last == token
        self.written += 1
        self.ended |= self.written >= self.room
        self.last = last
        return last

    def _draw(self) -> Float[Tensor, "B"]:
        """Return what decides the next token: of a block of tokens at once, as it takes a while."""
        if self.options.temperature == 0:
            return self._draws[0]
        place = self.written % BLOCK
        if place == 0:
            self._draws = uniform_streams(self.seeds, self.written, BLOCK)
        return self._draws[place]

    def _logits(self) -> Float[Tensor, "B V"]:
        if self.last is None:
            logits = self._first
        else:
            last = self.last.repeat(2) if self.guided else self.last
            logits = self.step_of(last, self.memory)
        if not self.guided:
            return logits
        conditional, unconditional = logits.chunk(2)
        return torch.lerp(unconditional, conditional, self.options.guidance)

    def _seen(self, prompts: Sequence[Sequence[int]]) -> Bool[Tensor, "B W"]:
        first, size = self.alphabet.first, self.alphabet.size
        seen = torch.zeros(len(prompts), size, dtype=torch.bool, device=self.seeds.device)
        for row, prompt in zip(seen, prompts, strict=True):
            row[list(prompt)] = True
        return seen[:, first:]


def write(
    model: TextModel,
    cond: Float[Tensor, "B E"] | None,
    options: TextOptions,
    seeds: Int[Tensor, "B"],
    alphabet: Alphabet,
) -> Int[Tensor, "B T"]:
    """Return the ids of one text a seed, without its begin; what follows an end is that end."""
    writing = Writing(model, [[alphabet.begin]] * len(seeds), options, seeds, alphabet, cond)
    ids: list[Int[Tensor, "B"]] = []
    while not writing.done:
        ids.append(writing.step())
    return torch.stack(ids, dim=1)


def room(prompts: Sequence[Sequence[int]], context: int, options: TextOptions) -> Int[Tensor, "B"]:
    """Return how many tokens each text may still have."""
    longest = max(map(len, prompts))
    if longest >= context:
        raise UserError(
            f"the prompt has {longest} tokens but the model's context is {context}, and what is"
            " written needs room too; shorten the prompt"
        )
    most = options.max_tokens or context
    return torch.tensor([min(most, context - len(prompt)) for prompt in prompts])


def _padded(
    prompts: Sequence[Sequence[int]], filler: int, device: torch.device
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B"]]:
    """Return rows of one length, filled up on the left, and by how much."""
    longest = max(map(len, prompts))
    rows = [[filler] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    padding = [longest - len(prompt) for prompt in prompts]
    return torch.tensor(rows, device=device), torch.tensor(padding, device=device)
