"""Conversations as tokens: who speaks is a token before what is said, and its end one behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from text.tokenizer import TextTokenizer
from text.tokenizer_kinds import CHAT

Who = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Turn:
    """What someone said."""

    who: Who
    """Who."""
    text: str
    """What."""


@dataclass(frozen=True)
class ChatTokens:
    """The special tokens of a conversation: ids."""

    system: int
    user: int
    assistant: int
    end: int

    @classmethod
    def of(cls, tokenizer: TextTokenizer) -> "ChatTokens":
        """Return a tokenizer's, or say that it has none."""
        special = tokenizer.special
        missing = [name for name in CHAT if name not in special]
        if missing:
            raise ValueError(
                f"the tokenizer has no {' '.join(missing)}, so the model cannot tell who speaks; "
                "use --prompt, or train a model with the tokenizer of:"
                " python -m text.train_tokenizer --chat true"
            )
        return cls(*(special[name] for name in CHAT))


def render(
    tokenizer: TextTokenizer, begin: int, turns: Sequence[Turn], room: int
) -> tuple[list[int], int]:
    """Return a conversation's ids, up to where the assistant speaks, and how many turns are in it.

    Of one that is too long the oldest turns are left out, but not what the system said.

    Args:
        tokenizer: Has the tokens of a chat.
        begin: The token that begins a text.
        turns: The conversation; the user's turn is the last.
        room: Tokens at most.
    """
    tokens = ChatTokens.of(tokenizer)
    spoken = [(turn.who, _ids(tokenizer, tokens, turn)) for turn in turns]
    system = [ids for who, ids in spoken if who == "system"]
    others = [ids for who, ids in spoken if who != "system"]
    kept = list(others)
    while len(kept) > 1 and _size(system, kept) > room:
        del kept[:2]  # a question and its answer
    if _size(system, kept) > room:
        raise ValueError(
            f"what was said has {_size(system, kept)} tokens but there is room for {room}; "
            "say it in fewer words"
        )
    ids = [begin, *(i for part in (*system, *kept) for i in part), tokens.assistant]
    return ids, len(system) + len(kept)


def _ids(tokenizer: TextTokenizer, tokens: ChatTokens, turn: Turn) -> list[int]:
    return [getattr(tokens, turn.who), *tokenizer.encode(turn.text), tokens.end]


def _size(*groups: Sequence[Sequence[int]]) -> int:
    return 2 + sum(len(part) for group in groups for part in group)
