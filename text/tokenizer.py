"""Text to token ids and back: text's codec. Any Unicode string survives the round trip."""

import hashlib
import json as json_library
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int64
from tokenizers import AddedToken, Encoding, Tokenizer
from torch import Tensor, nn

from core.errors import UserError
from text.tokenizer_kinds import BYTES, SPECIAL, Kind, learn
from text.tokenizer_parts import LONG, parts

PAD, BOS, EOS = range(len(SPECIAL))
"""Of the tokenizers that are learned here; others have roles of their own."""
TOGETHER = 256
"""Parts of a long text that are encoded at a time."""


@dataclass(frozen=True)
class Roles:
    """Which tokens begin and end a text and fill rows: ids."""

    bos: int | None = BOS
    """Begins a text; None where nothing does."""
    eos: int = EOS
    """Ends a text."""
    pad: int | None = PAD
    """Fills shorter rows and is never learned; None if rows must be of one length."""


class TextTokenizer:
    """Texts to ids by a tokenizer of the `tokenizers` library.

    One that is learned here has `<pad>`, `<bos>` and `<eos>` as tokens 0, 1 and 2; another, such as
    GPT-2's, is taken with its roles.
    """

    def __init__(self, json: str, roles: Roles | None = None):
        """Take a tokenizer.

        Args:
            json: What `TextTokenizer.json` returned, or the text of any tokenizer.json of the
                library.
            roles: Its begin, end and padding; by default those that `json` tells, or 1, 2 and 0.
        """
        try:
            self.library_json, told = _unwrap(json)
            self._tokenizer = Tokenizer.from_str(self.library_json)
        except Exception as error:  # the Rust library raises no narrower type
            raise UserError(
                f"not a tokenizer: {json[:40]!r}...; give a tokenizer.json written by: "
                "python -m text.train_tokenizer"
            ) from error
        # A user's "<eos>" is five letters, not the end of the text.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.roles = roles or told or self._own_roles()
        self._check_roles()

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocabulary: int | None = None,
        kind: Kind = "bpe",
        *,
        chat: bool = False,
    ) -> "TextTokenizer":
        """Learn a tokenizer from `texts`.

        Args:
            texts: What it shall be short for.
            vocabulary: Tokens at most, few texts may give fewer; None for 512 of `bpe`, and for
                all characters of `char`.
            kind: `bpe` merges pairs of bytes, `char` has a token for each character, and spells
                others in bytes, `byte` has one for each byte.
            chat: Whether to have the special tokens of a chat, too.
        """
        texts = [texts] if isinstance(texts, str) else texts  # a string is no list of letters
        return cls(learn(kind, texts, vocabulary, chat=chat).to_str())

    @property
    def json(self) -> str:
        """The whole tokenizer as a string, to travel inside a checkpoint.

        Of one that is learned here it is the library's own format; roles of another are put
        around it.
        """
        if self.roles == Roles():
            return self.library_json
        return f'{{"roles":{_compact(asdict(self.roles))},"tokenizer":{self.library_json}}}'

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `json`: equal for equal tokenizers."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Every token's name -> id."""
        return self._tokenizer.get_vocab()

    @cached_property
    def added(self) -> dict[str, int]:
        """Name -> id of the tokens that were not learned but put in."""
        return {token.content: i for i, token in self._added.items()}

    @cached_property
    def special(self) -> dict[str, int]:
        """Name -> id of those among them that no text contains."""
        return {token.content: i for i, token in self._added.items() if token.special}

    @cached_property
    def layout(self) -> dict[str, Any]:
        """How the library reads a text: its JSON, with only the number of tokens and merges."""
        layout = json_library.loads(self.library_json)
        learned = {"vocab", "merges"} & set(layout["model"])
        layout["model"] |= {name: len(layout["model"][name]) for name in learned}
        return layout

    @property
    def bos(self) -> int | None:
        """The token that begins a text."""
        return self.roles.bos

    @property
    def eos(self) -> int:
        """The token that ends a text."""
        return self.roles.eos

    @property
    def pad(self) -> int | None:
        """The token that fills rows."""
        return self.roles.pad

    @cached_property
    def _added(self) -> dict[int, AddedToken]:
        return self._tokenizer.get_added_tokens_decoder()

    @cached_property
    def _size(self) -> int:
        return 1 + max(self.vocabulary.values())  # numbers may be left out in others' tokenizers

    def __len__(self) -> int:
        return self._size

    def encode(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        _check_unicode(text)
        pieces = parts(text, self.layout) if len(text) > LONG else [text]
        ids: list[int] = []
        for start in range(0, len(pieces), TOGETHER):
            for found in self._encode(pieces[start : start + TOGETHER]):
                ids += found.ids
        return ids

    def document(self, text: str) -> list[int]:
        """Ids of `text` with its begin, if there is one, and its end."""
        begin = [] if self.bos is None else [self.bos]
        return [*begin, *self.encode(text), self.eos]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` up to the first `<eos>`; other special tokens are left out.

        Generated ids may break a character in the middle: such bytes become U+FFFD.
        """
        ids = list(ids)
        if ids and ids[0] == self.bos:  # which GPT-2 ends with, too
            del ids[0]
        return self.decode_all(ids[: ids.index(self.eos)] if self.eos in ids else ids)

    def decode_all(self, ids: Sequence[int], *, special: bool = False) -> str:
        """The text of all `ids`, special tokens left out unless they are asked for."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=not special)

    def batch(self, texts: Sequence[str], length: int) -> Int64[Tensor, "B T"]:
        """Rows `<bos> text <eos> <pad>...`, as long as the longest row and at most `length`.

        A longer text is cut at `length` and then has no `<eos>`.
        """
        texts = [texts] if isinstance(texts, str) else texts
        rows = [self.document(text)[:length] for text in texts]
        longest = max(map(len, rows), default=0)
        if self.pad is None and any(len(row) < longest for row in rows):
            raise UserError(
                "a tokenizer without a padding token cannot fill rows of different lengths; give "
                "it a pad in its roles"
            )
        fill = 0 if self.pad is None else self.pad
        return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])

    def _encode(self, pieces: list[str]) -> list[Encoding]:
        if len(pieces) == 1:  # no thread is needed
            return [self._tokenizer.encode(pieces[0], add_special_tokens=False)]
        return self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)

    def _own_roles(self) -> Roles:
        found = tuple(self._tokenizer.id_to_token(i) for i in range(len(SPECIAL)))
        if found != SPECIAL:
            raise UserError(
                f"a tokenizer whose first tokens are {found} does not fit: they must be {SPECIAL}, "
                "or its roles be given; name bos_token and eos_token in a tokenizer_config.json "
                "beside it, or train one with: python -m text.train_tokenizer"
            )
        return Roles()

    def _check_roles(self) -> None:
        for role, number in asdict(self.roles).items():
            if number is not None and self._tokenizer.id_to_token(number) is None:
                raise UserError(
                    f"{role} is token {number} but the tokenizer has {len(self)} tokens and none "
                    "of that number; name another"
                )


class TextCodec(nn.Module):
    """Texts to token ids and back; the tokenizer travels among the module's weights.

    Before `fit` it knows bytes and no merges: right, but slow.

    Args:
        vocabulary: Tokens at most.
    """

    def __init__(self, vocabulary: int = 512):
        super().__init__()
        self.vocabulary = vocabulary
        # Another vocabulary may be too small for every byte; `fit` checks what it learns.
        kind = "bpe" if vocabulary >= BYTES + len(SPECIAL) else "char"
        self.tokenizer = TextTokenizer.train([], None, kind)
        self.fitted = False

    def fit(self, texts: Iterable[str]) -> None:
        """Learn the merges."""
        self.use(TextTokenizer.train(texts, self.vocabulary))

    def use(self, tokenizer: TextTokenizer) -> None:
        """Take a tokenizer that was learned elsewhere."""
        if len(tokenizer) > self.vocabulary:
            raise UserError(
                f"a tokenizer of {len(tokenizer)} tokens does not fit a vocabulary of "
                f"{self.vocabulary}; raise the model's vocabulary or learn a smaller one"
            )
        self.tokenizer, self.fitted = tokenizer, True

    def settle(self, tokenizer: TextTokenizer, name: str) -> None:
        """Take a tokenizer that is asked for by name, unless a checkpoint brought another.

        Args:
            tokenizer: What is asked for.
            name: Its file or folder, for the message.
        """
        if self.fitted and tokenizer.digest != self.tokenizer.digest:
            raise UserError(
                f"{name} is tokenizer {tokenizer.digest[:12]} ({len(tokenizer)} tokens) but the "
                f"checkpoint was trained with {self.tokenizer.digest[:12]} "
                f"({len(self.tokenizer)} tokens); leave it out, or train a new model"
            )
        self.use(tokenizer)

    def encode(self, texts: Sequence[str], length: int) -> Int64[Tensor, "B T"]:
        """Return ids on the CPU, as `TextTokenizer.batch` lays them out."""
        return self.tokenizer.batch(texts, length)

    def decode(self, ids: Int64[Tensor, "B T"]) -> list[str]:
        """Return the texts of rows of ids."""
        return [self.tokenizer.decode(row) for row in ids.tolist()]

    def get_extra_state(self) -> Tensor:
        """Return the tokenizer's JSON as bytes, so that a state of tensors alone holds it."""
        json = self.tokenizer.json if self.fitted else ""
        return torch.tensor(list(json.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up the tokenizer of a checkpoint."""
        if len(state):
            self.use(TextTokenizer(bytes(state.tolist()).decode()))


def _unwrap(json: str) -> tuple[str, Roles | None]:
    """Return the library's own format, and the roles that were put around it, if they were.

    The same tokenizer gives the same string, however the file was laid out.
    """
    value = json_library.loads(json)
    if set(value) != {"roles", "tokenizer"}:
        return _compact(value), None
    return _compact(value["tokenizer"]), Roles(**value["roles"])


def _compact(value: Any) -> str:
    """Return JSON as the library writes it."""
    return json_library.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"the text has half a surrogate pair, {text[error.start]!a}, at character "
            f"{error.start}, which is no Unicode; decode its source with errors='replace'"
        ) from None
