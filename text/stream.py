"""Tokens to text as they come: whole characters only, and nothing of a stop string."""

from collections.abc import Sequence

from core.errors import UserError
from text.tokenizer import TextTokenizer
from text.tokenizer_kinds import CHAT

BROKEN = "\ufffd"
"""What a decoder makes of bytes that are no character, or none yet."""


class TextStream:
    """The text of one row of tokens, told piece by piece.

    A piece is told when nothing that follows can change it: the first bytes of a character wait for
    its last, and the beginning of a stop string for what comes of it.

    Args:
        tokenizer: Knows what tokens stand for.
        stop: Strings that end the text; they are left out of it.
        before: Tokens that the text continues. A SentencePiece decoder drops the blank that a text
            begins with, so without them the first word would stick to the prompt.
    """

    def __init__(
        self, tokenizer: TextTokenizer, stop: Sequence[str] = (), before: Sequence[int] = ()
    ):
        if isinstance(stop, str):
            stop = (stop,)
        if not all(stop):
            raise UserError("a stop string is empty, which would end every text; leave it out")
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.text = ""
        """What was told so far."""
        self.stopped = False
        """Whether a stop string was found; what is fed then is ignored."""
        self._special = frozenset(tokenizer.special.values())
        self._ids = _same_segment(before, tokenizer)
        self._told_ids = 0  # decoding starts here: one piece before what is new,
        self._read_ids = len(self._ids)  # which starts here: decoders look at what stands before
        self._waiting = ""

    def feed(self, token: int) -> str:
        """Take one more token and return what is certain now; a special token has no text."""
        if token in self._special:
            return ""
        self._ids.append(token)
        before = self._decode(self._told_ids, self._read_ids)
        after = self._decode(self._told_ids, len(self._ids))
        if after.endswith(BROKEN) or len(after) <= len(before):
            return ""
        piece = self._new(before, after)
        self._told_ids, self._read_ids = self._read_ids, len(self._ids)
        return self._tell(piece)

    def close(self) -> str:
        """Return what was still held back: there is nothing more to come."""
        before = self._decode(self._told_ids, self._read_ids)
        rest = self._tell(self._new(before, self._decode(self._told_ids, len(self._ids))))
        self._told_ids = self._read_ids = len(self._ids)
        held, self._waiting = self._waiting, ""
        self.text += held
        return rest + held

    def _decode(self, start: int, end: int) -> str:
        return self.tokenizer.decode_all(self._ids[start:end], special=True)

    def _new(self, before: str, after: str) -> str:
        """Return what the unread tokens add to the text before them."""
        if after.startswith(before):
            return after[len(before) :]
        # Byte fallback gives up on a whole row of bytes once one of them fits no character.
        return self._decode(self._read_ids, len(self._ids))

    def _tell(self, piece: str) -> str:
        """Return what of the text that waits, and a further piece, is no part of a stop string."""
        if self.stopped:
            return ""
        waiting = self._waiting + piece
        found = [waiting.index(stop) for stop in self.stop if stop in waiting]
        if found:
            self.stopped, told, self._waiting = True, waiting[: min(found)], ""
        else:
            held = max((_overlap(waiting, stop) for stop in self.stop), default=0)
            told, self._waiting = waiting[: len(waiting) - held], waiting[len(waiting) - held :]
        self.text += told
        return told


def _same_segment(ids: Sequence[int], tokenizer: TextTokenizer) -> list[int]:
    """Return the tokens behind the last that begins a text: an answer in a chat is its own text.

    An unknown token stays: the word that it stands for is there, and a blank may follow it.
    """
    borders = {tokenizer.bos, tokenizer.eos, *map(tokenizer.special.get, CHAT)}
    starts = [place + 1 for place, token in enumerate(ids) if token in borders]
    return list(ids[starts[-1] if starts else 0 :])


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a stop string."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
