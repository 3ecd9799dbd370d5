"""A conversation that goes on: who answers, and what of it they read before."""

from collections.abc import Sequence
from dataclasses import replace

from core.errors import UserError
from text.chat_template import END, Message, chat_marks, prompt
from text.continuation import Author
from text.tokenizer import TextTokenizer
from text.writing import Alphabet


def chat_author(author: Author) -> Author:
    """Return the author as one that answers: its answers end, and it speaks for nobody else."""
    marks = chat_marks(author.tokenizer)
    others = [number for name, number in marks.items() if name != END]
    alphabet = Alphabet.of(author.tokenizer, also_ends=[marks[END]], also_silent=others)
    return replace(author, alphabet=alphabet)


def read_before_answering(
    tokenizer: TextTokenizer, messages: Sequence[Message], room: int
) -> tuple[list[int], int]:
    """Return a conversation's ids, up to where the assistant speaks, and how many messages that is.

    Of one that is too long the oldest questions and answers are left out, but not what the system
    said.

    Args:
        tokenizer: Has the tokens of a chat.
        messages: The conversation; the user's turn is the last.
        room: Tokens at most.
    """
    system = [message for message in messages if message.role == "system"]
    kept = [message for message in messages if message.role != "system"]
    ids = prompt([*system, *kept], tokenizer)
    while len(ids) > room and len(kept) > 1:
        kept = kept[2:]  # a question and its answer
        ids = prompt([*system, *kept], tokenizer)
    if len(ids) > room:
        raise UserError(
            f"what was said has {len(ids)} tokens but there is room for {room}; say it in fewer"
            " words"
        )
    return ids, len(system) + len(kept)
