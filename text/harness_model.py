"""A language model as lm-evaluation-harness wants it: likelihoods of texts, and texts gone on with.

    import lm_eval
    from text.harness_model import HarnessModel

    lm_eval.simple_evaluate(model=HarnessModel(module), tasks=["lambada_openai"])

The module is what `core.checkpoint.load_module` returns of a text model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor
from tqdm import tqdm

from core.errors import UserError
from text.continuation import Author, go_on
from text.module import TextModule
from text.sampling import TextOptions
from text.writing import Alphabet

LONGEST = 256
"""Tokens that are written where a task does not say."""


@dataclass(frozen=True)
class Pair:
    """A context and what follows it."""

    context: list[int]
    """Tokens that are given: one at least."""
    following: list[int]
    """Tokens whose likelihood is asked for."""

    def __len__(self) -> int:
        return len(self.context) + len(self.following)


@dataclass(frozen=True)
class Wish:
    """How a task wants a text to be gone on with."""

    until: tuple[str, ...]
    """Strings that end it."""
    tokens: int
    """At most."""
    options: TextOptions
    """How to choose tokens."""

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Wish":
        """Read a task's `generation_kwargs`; without `do_sample` the likeliest token is taken."""
        until = told.get("until") or ()
        until = (until,) if isinstance(until, str) else tuple(until)
        names = {field.name for field in fields(TextOptions)}
        options: dict[str, Any] = {"top_p": None, "guidance": 1.0}
        options |= {name: value for name, value in told.items() if name in names}
        options |= {} if told.get("do_sample") else {"temperature": 0.0}
        return cls(until, int(told.get("max_gen_toks", LONGEST)), TextOptions(**options))


class HarnessModel(TemplateLM):
    """A text model of ours in the interface of lm-evaluation-harness.

    Contexts begin as training documents do: with the tokenizer's begin, unless that is its end, too
    (GPT-2, whose texts other projects leave bare as well).

    Args:
        module: A language model, on the device to use.
        batch: Texts that are read side by side; it changes no result but by rounding.
    """

    def __init__(self, module: TextModule, batch: int = 16):
        super().__init__()
        if module.cond_dim:
            raise UserError("the model writes under a condition; a language model is needed")
        self.module, self.net, self.batch = module.eval(), module.net, batch
        self.codec, self.context = module.codec.tokenizer, module.net.config.context
        self.author = Author(self.net, self.codec, Alphabet.of(self.codec))

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.codec.eos

    @property
    def prefix_token_id(self) -> int:
        """The token before a text of which nothing is given."""
        return self.codec.eos if self.codec.bos is None else self.codec.bos

    @property
    def tokenizer_name(self) -> str:
        """What tells tokenizers apart."""
        return self.codec.digest

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Return a text's tokens, with its begin unless that is not wanted."""
        begun = self.prefix_token_id != self.eot_token_id and add_special_tokens is not False
        return [self.prefix_token_id] * begun + self.codec.encode(string)

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of each text, long ones in windows that fill the context."""
        windows = [self._windows(*request.args) for request in requests]
        scores = iter(self._scores([pair for pairs in windows for pair in pairs], disable_tqdm))
        totals = [sum(next(scores)[0] for _ in pairs) for pairs in windows]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    @torch.no_grad()
    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return how each context goes on, up to a stop, the end, or as many tokens as wanted."""
        written = []
        for number, request in enumerate(tqdm(requests, disable=disable_tqdm, desc="writing")):
            asked: Any = request.args
            context, told = asked
            written.append(self._write(context, Wish.of(told), number))
            self.cache_hook.add_partial("generate_until", asked, written[-1])
        return written

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **_: Any,
    ) -> list[tuple[float, bool]]:
        pairs = [Pair(context, following) for _, context, following in requests]
        scores = self._scores(pairs, disable_tqdm)
        for request, score in zip(requests, scores, strict=True):
            self.cache_hook.add_partial("loglikelihood", request[0], score)
        return scores

    @torch.no_grad()
    def _scores(self, pairs: Sequence[Pair], disable_tqdm: bool) -> list[tuple[float, bool]]:
        """Return, of each pair, the log-likelihood, and whether each token was the likeliest."""
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i]), reverse=True)
        scores: dict[int, tuple[float, bool]] = {}
        for start in tqdm(range(0, len(order), self.batch), disable=disable_tqdm, desc="reading"):
            rows = order[start : start + self.batch]
            logits = self._logits([pairs[i] for i in rows])
            for i, row in zip(rows, logits, strict=True):
                scores[i] = _score(row, pairs[i])
        return [scores[i] for i in range(len(pairs))]

    def _logits(self, pairs: Sequence[Pair]) -> Iterator[Float[Tensor, "T V"]]:
        """Yield the logits of what follows in each pair; contexts are cut on the left."""
        rows = [self._fitting(pair) for pair in pairs]
        width = max(map(len, rows))
        # What fills a row stands behind all that is read, where nothing looks.
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        logits = self.net(ids.to(self.module.device))
        for row, pair, held in zip(rows, pairs, logits, strict=True):
            yield held[len(row) - len(pair.following) : len(row)]

    def _fitting(self, pair: Pair) -> list[int]:
        if len(pair.following) > self.context:
            raise UserError(
                f"a task asks for {len(pair.following)} tokens at once but the model's context is"
                f" {self.context}; choose another task, or train with a larger model.model.context"
            )
        return (pair.context + pair.following)[:-1][-self.context :]

    def _windows(self, text: str) -> list[Pair]:
        """Return a text in parts, each token once, the first after the begin."""
        ids = self.tok_encode(text, add_special_tokens=False)
        windows = get_rolling_token_windows(ids, self.prefix_token_id, self.context, 1)
        return [Pair(*make_disjoint_window(window)) for window in windows]

    def _write(self, context: str, wish: Wish, number: int) -> str:
        """Go on with one context; token n of request m is drawn with stream n of seed m."""
        tokens = min(wish.tokens, self.context - 1)
        options = replace(wish.options, max_tokens=tokens)
        given = self.tok_encode(context)[tokens - self.context :] or [self.prefix_token_id]
        (made,) = go_on(self.author, [given], options, [number], wish.until)
        return made.text


def _score(logits: Float[Tensor, "T V"], pair: Pair) -> tuple[float, bool]:
    ids = torch.tensor(pair.following, dtype=torch.int64, device=logits.device)
    each = torch.log_softmax(logits.float(), dim=-1).gather(1, ids[:, None])
    return float(each.double().sum()), bool((logits.argmax(dim=-1) == ids).all())
