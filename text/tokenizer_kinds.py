"""The three kinds of tokenizer, as the `tokenizers` library holds them: bpe, char, byte.

Each takes any Unicode string: what it has no token for is spelled in bytes.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from core.errors import UserError

Kind = Literal["bpe", "char", "byte"]
SPECIAL = ("<pad>", "<bos>", "<eos>")
"""The first tokens of every tokenizer that is learned here."""
CHAT = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
"""Who speaks, and the end of what is said: tokens behind the first, if asked for."""
BYTES = 256
SMALLEST = 512
"""Tokens of byte-pair encoding unless told otherwise."""


def learn(kind: Kind, texts: Iterable[str], vocabulary: int | None, *, chat: bool) -> Tokenizer:
    """Return a tokenizer learned from texts.

    Args:
        kind: `bpe` merges pairs of bytes, `char` has a token for each character of the texts,
            `byte` one for each byte and nothing to learn.
        vocabulary: Tokens at most; None for 512 of `bpe`, and for all characters of `char`.
        chat: Whether to have the tokens of `CHAT`.
    """
    special = (*SPECIAL, *CHAT) if chat else SPECIAL
    match kind:
        case "bpe":
            return _bpe(texts, SMALLEST if vocabulary is None else vocabulary, special)
        case "char":
            return _char(texts, vocabulary, special)
        case "byte":
            _check_room("byte", vocabulary, BYTES + len(special))
            return _byte(special)


def _bpe(texts: Iterable[str], vocabulary: int, special: tuple[str, ...]) -> Tokenizer:
    """Source: Sennrich et al. 2016 (byte-pair encoding), Radford et al. 2019 (over bytes)."""
    _check_room("bpe", vocabulary, BYTES + len(special))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _char(texts: Iterable[str], vocabulary: int | None, special: tuple[str, ...]) -> Tokenizer:
    """Characters in the order of their code points, then bytes to spell the others with."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    characters = sorted(_commonest(counts, vocabulary, len(special)))
    rows = [*special, *characters, *(f"<0x{byte:02X}>" for byte in _spelling(characters))]
    model = models.BPE(vocab=_numbered(rows), merges=[], byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def _byte(special: tuple[str, ...]) -> Tokenizer:
    """Bytes in their order behind the special tokens."""
    rows = [*special, *byte_letters()]
    tokenizer = Tokenizer(models.BPE(vocab=_numbered(rows), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def byte_letters() -> list[str]:
    """Return the letter that stands for each byte in the names of byte-level tokens.

    A byte that is a visible character of Latin-1 stands for itself, the n-th of the others is
    U+0100 + n (Radford et al. 2019).
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in visible else next(others)) for byte in range(BYTES)]


def _commonest(counts: Counter[str], vocabulary: int | None, special: int) -> set[str]:
    """Return the characters to have a token: all, or the most frequent that leave room for bytes.

    The earlier code point wins a tie.
    """
    _check_room("char", vocabulary, special + len(_spelling([])))
    order = sorted(counts, key=lambda character: (-counts[character], character))
    kept, size = set(), special + len(_spelling([]))
    for character in order:
        size += not character.isascii()  # an ASCII character takes its byte's place
        if vocabulary is not None and size > vocabulary:
            break
        kept.add(character)
    return kept


def _spelling(characters: Iterable[str]) -> list[int]:
    """Return the bytes that UTF-8 may need for characters that are not among these."""
    known = {ord(character) for character in characters if character.isascii()}
    # 0xC0, 0xC1 and 0xF5 to 0xFF occur in no text (RFC 3629).
    return [byte for byte in (*range(0xC0), *range(0xC2, 0xF5)) if byte not in known]


def _numbered(rows: Iterable[str]) -> dict[str, int]:
    return {row: number for number, row in enumerate(rows)}


def _check_room(kind: Kind, vocabulary: int | None, smallest: int) -> None:
    if vocabulary is not None and vocabulary < smallest:
        raise UserError(
            f"a vocabulary of {vocabulary} cannot hold the bytes and special tokens of a {kind} "
            f"tokenizer; use at least {smallest}"
        )
