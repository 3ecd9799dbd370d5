"""The assistant's next turn in many conversations at once, the likeliest token each time."""

from collections.abc import Sequence

from text.chat import chat_author
from text.chat_template import Message, prompt
from text.continuation import Author, go_on
from text.model import TextModel
from text.sampling import TextOptions
from text.tokenizer import TextTokenizer
from text.writing import Alphabet


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
        batch_size: Conversations, of about one length, that are answered together.
    """
    author = chat_author(Author(model, tokenizer, Alphabet.of(tokenizer)))
    options = TextOptions(temperature=0.0, top_p=None, guidance=1.0, max_tokens=max_tokens)
    prompts = [prompt(messages, tokenizer) for messages in conversations]
    found = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        made = go_on(author, [prompts[i] for i in numbers], options, seeds=numbers)
        for i, answer in zip(numbers, made, strict=True):
            found[i] = answer.text
    return found
