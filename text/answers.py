"""The assistant's next turn in many conversations at once, the likeliest token each time."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from text.chat_template import END, Message, chat_marks, prompt
from text.model import TextModel
from text.tokenizer import TextTokenizer


def answers(
    model: TextModel,
    tokenizer: TextTokenizer,
    conversations: Sequence[Sequence[Message]],
    *,
    max_tokens: int = 64,
    batch_size: int = 256,
) -> list[str]:
    """Return what the assistant says next in each; a turn that does not end is cut.

    Args:
        model: A language model without a prefix.
        tokenizer: Its tokenizer, with the special tokens of a chat.
        conversations: What was said before.
        max_tokens: Tokens of an answer at most.
        batch_size: Conversations, of one length, that are answered together.
    """
    prompts = [prompt(messages, tokenizer) for messages in conversations]
    end, found = chat_marks(tokenizer)[END], [""] * len(prompts)
    for numbers in _alike(prompts, batch_size):
        device = model.embed.weight.device
        ids = torch.tensor([prompts[i] for i in numbers], device=device)
        written = greedy(model, ids, end, len(tokenizer), max_tokens)
        for i, row in zip(numbers, written.tolist(), strict=True):
            found[i] = tokenizer.decode(row[: row.index(end)] if end in row else row)
    return found


@torch.no_grad()
def greedy(
    model: TextModel, prompts: Int[Tensor, "B T"], end: int, tokens: int, max_tokens: int
) -> Int[Tensor, "B L"]:
    """Return the likeliest continuation, token by token, until all rows have had an `end`.

    Args:
        model: Gives the logits.
        prompts: What is continued.
        end: The token that ends a row.
        tokens: Size of the tokenizer; the model's table may have more rows.
        max_tokens: Tokens at most.
    """
    room = model.config.context - prompts.shape[1]
    if room < 1:
        raise ValueError(
            f"a conversation of {prompts.shape[1]} tokens leaves no room for an answer in a "
            f"context of {model.config.context}; shorten it"
        )
    length = min(max_tokens, room)
    caches = model.begin(model.prefix(None, len(prompts)), prompts.shape[1] + length)
    logits = model.read(prompts, caches)[:, -1]
    written = [logits[:, :tokens].argmax(-1)]
    ended = written[0] == end
    while len(written) < length and not ended.all():
        written.append(model.step(written[-1], caches)[:, :tokens].argmax(-1))
        ended = ended | (written[-1] == end)
    return torch.stack(written, dim=1)


def _alike(prompts: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Yield the numbers of prompts of one length, so many at a time."""
    groups: dict[int, list[int]] = defaultdict(list)
    for number, ids in enumerate(prompts):
        groups[len(ids)].append(number)
    for numbers in groups.values():
        for start in range(0, len(numbers), batch_size):
            yield numbers[start : start + batch_size]
