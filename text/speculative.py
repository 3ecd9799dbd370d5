"""Speculative decoding: a small model writes ahead, the large one reads it at once and corrects.

What is written has the large model's distribution exactly.

Source: Leviathan et al. 2023, "Fast inference from transformers via speculative decoding",
algorithm 1; Chen et al. 2023, "Accelerating large language model decoding with speculative
sampling", algorithm 2.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.errors import UserError
from core.noise import uniform
from text.memory import Memory
from text.model import TextModel
from text.sampling import TextOptions, penalise, probabilities
from text.writing import Alphabet, room

DRAFT, ACCEPT, CORRECT = range(3)
"""What is drawn for each place in a text: each from streams of its own."""


def accepted(
    p: Float[Tensor, "B K V"],
    q: Float[Tensor, "B K V"],
    drafted: Int[Tensor, "B K"],
    draws: Float[Tensor, "B K"],
) -> Int[Tensor, "B"]:
    """Return how many of the drafted tokens stand: until one is not at most p/q likely by its draw.

    Args:
        p: The large model's distribution of each token.
        q: The small one's, from which it was drafted.
        drafted: The tokens.
        draws: From (0, 1), one a token.
    """
    chosen = drafted[..., None]
    stands = draws * q.gather(-1, chosen)[..., 0] < p.gather(-1, chosen)[..., 0]
    return stands.long().cumprod(dim=-1).sum(dim=-1)


def corrected(p: Float[Tensor, "*B V"], q: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
    """Return the distribution of the token in place of one that does not stand: max(0, p - q)."""
    rest = (p - q).clamp_min(0)
    total = rest.sum(-1, keepdim=True)
    return torch.where(total > 0, rest / total, p)  # nothing is left of equal ones but rounding


class Reader:
    """One model's share in a text that is written by two."""

    def __init__(self, model: TextModel, slots: int):
        self.model = model
        self.memory: Memory = model.begin(model.prefix(None, 1), slots)

    @property
    def read(self) -> int:
        """Tokens of the text that were read."""
        return self.memory.length - self.memory.prefix

    def catch_up(self, ids: Sequence[int], device: torch.device) -> Float[Tensor, "T V"]:
        """Read what is new of a text and return the logits after each token of that."""
        new = torch.tensor([ids[self.read :]], device=device)
        return self.model.read(new, self.memory)[0]

    def forget(self, length: int) -> None:
        """Forget the text from this token on, if it was read."""
        self.memory.truncate(self.memory.prefix + min(self.read, length))


class Speculation:
    """One text that two models write; used as `text.writing.Writing` is.

    Args:
        model: The large model.
        draft: The small one, of the same tokenizer.
        prompt: The ids that the text begins with.
        options: How to write.
        seed: The text's seed, as a tensor of one.
        alphabet: What may be written.
        ahead: Tokens that the small model writes at a time.
    """

    def __init__(
        self,
        model: TextModel,
        draft: TextModel,
        prompt: Sequence[int],
        options: TextOptions,
        seed: Int[Tensor, "1"],
        alphabet: Alphabet,
        ahead: int = 4,
    ):
        if ahead < 1:
            raise UserError(f"ahead is {ahead}; the small model must write at least 1 token ahead")
        self.options, self.seed, self.alphabet, self.ahead = options, seed, alphabet, ahead
        context = min(model.config.context, draft.config.context)
        self.room = int(room([prompt], context, options))
        self.ids, self.start = list(prompt), len(prompt)
        slots = len(prompt) + self.room + 1
        self.large, self.small = Reader(model, slots), Reader(draft, slots)
        self.ended = torch.zeros(1, dtype=torch.bool, device=seed.device)
        self.drafted = self.stood = self.rounds = 0
        """Tokens that were drafted, those that stood, and readings of the large model."""
        self._ready: list[int] = []

    @property
    def done(self) -> bool:
        """Whether the text has ended."""
        return bool(self.ended)

    def end(self, row: int) -> None:
        """End the text."""
        self.ended[row] = True

    def step(self) -> Int[Tensor, "1"]:
        """Return the next token; only some steps need the models."""
        if not self._ready:
            self._ready = self._round()
        token = self._ready.pop(0)
        self._told = len(self.ids) - len(self._ready) - self.start
        if token in self.alphabet.ends or self._told >= self.room:
            self.ended[:] = True
        return torch.tensor([token], device=self.seed.device)

    def _round(self) -> list[int]:
        """Draft, read, keep what stands, and one token more."""
        ahead = min(self.ahead, self.room - (len(self.ids) - self.start) - 1)
        drafts, q = self._draft(ahead)
        logits = self.large.catch_up([*self.ids, *drafts], self.seed.device)[-(len(drafts) + 1) :]
        p = self._distributions(logits, drafts)
        kept, place = 0, len(self.ids)
        if drafts:
            chosen = torch.tensor([drafts], device=self.seed.device) - self.alphabet.first
            draws = torch.stack([self._draw(place + i, ACCEPT) for i in range(len(drafts))], dim=1)
            kept = int(accepted(p[None, :-1], q[None], chosen, draws))
        last = p[kept] if kept == len(drafts) else corrected(p[kept], q[kept])
        made = [*drafts[:kept], self._choose(last, place + kept, CORRECT)]
        self.rounds, self.stood = self.rounds + 1, self.stood + kept
        self.drafted += len(drafts)
        self.ids += made
        for reader in (self.large, self.small):
            reader.forget(len(self.ids) - 1)
        return made

    def _draft(self, count: int) -> tuple[list[int], Float[Tensor, "K V"]]:
        """Return tokens of the small model and the distributions that they were drawn from."""
        drafts: list[int] = []
        rows: list[Float[Tensor, "V"]] = []
        for i in range(count):
            logits = self.small.catch_up([*self.ids, *drafts], self.seed.device)[-1:]
            rows.append(self._distributions(logits, drafts)[0])
            drafts.append(self._choose(rows[-1], len(self.ids) + i, DRAFT))
        return drafts, torch.stack(rows) if rows else torch.empty(0, 0)

    def _distributions(
        self, logits: Float[Tensor, "R V"], drafts: Sequence[int]
    ) -> Float[Tensor, "R W"]:
        """Return what the last tokens of text and drafts, one a row of logits, make likely."""
        logits = self.alphabet.of_logits(logits)
        if self.options.repetition_penalty != 1:
            seen = self._seen(drafts, len(logits))
            logits = penalise(logits, seen, self.options.repetition_penalty)
        return probabilities(logits, self.options)

    def _seen(self, drafts: Sequence[int], rows: int) -> Bool[Tensor, "R W"]:
        seen = torch.zeros(rows, self.alphabet.size, dtype=torch.bool, device=self.seed.device)
        for i, row in enumerate(seen):
            row[[*self.ids, *drafts[: len(drafts) - rows + 1 + i]]] = True
        return seen[:, self.alphabet.first :]

    def _draw(self, place: int, purpose: int) -> Float[Tensor, "1"]:
        return uniform(self.seed, stream=3 * place + purpose)

    def _choose(self, p: Float[Tensor, "V"], place: int, purpose: int) -> int:
        cumulated = p.cumsum(-1)
        rank = int((cumulated < self._draw(place, purpose) * cumulated[-1]).sum())
        # Rounding may leave the very end of the draws to tokens of no probability.
        return self.alphabet.first + min(rank, int(p.nonzero()[-1]))
