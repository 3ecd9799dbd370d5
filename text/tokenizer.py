"""Text to token ids and back: byte-level byte-pair encoding, text's codec.

Every byte is a token, so any Unicode string survives the round trip; merges learned from the
training texts only make it shorter. Source: Sennrich et al. 2016 (byte-pair encoding), Radford
et al. 2019 (over bytes).
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int64
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

SPECIAL = ("<pad>", "<bos>", "<eos>")
PAD, BOS, EOS = range(len(SPECIAL))
BYTES = 256


class TextTokenizer:
    """Byte-level byte-pair encoding with `<pad>`, `<bos>` and `<eos>` as tokens 0, 1 and 2.

    Args:
        json: What `TextTokenizer.json` returned; it holds the whole tokenizer.
    """

    def __init__(self, json: str):
        try:
            self._tokenizer = Tokenizer.from_str(json)
        except Exception as error:  # the Rust library raises no narrower type
            raise ValueError(
                f"not a tokenizer: {json[:40]!r}...; give a tokenizer.json written by: "
                "python -m text.train_tokenizer"
            ) from error
        found = tuple(self._tokenizer.id_to_token(i) for i in range(len(SPECIAL)))
        if found != SPECIAL:
            raise ValueError(
                f"a tokenizer whose first tokens are {found} does not fit: they must be {SPECIAL}; "
                "train one with: python -m text.train_tokenizer"
            )
        # A user's "<eos>" is five letters, not the end of the text.
        self._tokenizer.encode_special_tokens = True

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int = 512) -> "TextTokenizer":
        """Learn merges from `texts`, up to `vocabulary` tokens; few texts may give fewer."""
        smallest = BYTES + len(SPECIAL)
        if vocabulary < smallest:
            raise ValueError(
                f"a vocabulary of {vocabulary} cannot hold {BYTES} bytes and {len(SPECIAL)} "
                f"special tokens; use at least {smallest}"
            )
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())

    @property
    def json(self) -> str:
        """The whole tokenizer as a string, to travel inside a checkpoint."""
        return self._tokenizer.to_str()

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` up to the first `<eos>`; other special tokens are left out.

        Generated ids may break a character in the middle: such bytes become U+FFFD.
        """
        ids = list(ids)
        until = ids.index(EOS) if EOS in ids else len(ids)
        return self._tokenizer.decode(ids[:until], skip_special_tokens=True)

    def batch(self, texts: Sequence[str], length: int) -> Int64[Tensor, "B T"]:
        """Rows `<bos> text <eos> <pad>...`, as long as the longest row and at most `length`.

        A longer text is cut at `length` and then has no `<eos>`.
        """
        rows = [[BOS, *self.encode(text), EOS][:length] for text in texts]
        longest = max(map(len, rows), default=0)
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


class TextCodec(nn.Module):
    """Texts to token ids and back; the tokenizer travels among the module's weights.

    Before `fit` it knows bytes and no merges: right, but slow.

    Args:
        vocabulary: Tokens at most.
    """

    def __init__(self, vocabulary: int = 512):
        super().__init__()
        self.vocabulary = vocabulary
        self.tokenizer = TextTokenizer.train([], vocabulary)
        self.fitted = False

    def fit(self, texts: Iterable[str]) -> None:
        """Learn the merges."""
        self.use(TextTokenizer.train(texts, self.vocabulary))

    def use(self, tokenizer: TextTokenizer) -> None:
        """Take a tokenizer that was learned elsewhere."""
        if len(tokenizer) > self.vocabulary:
            raise ValueError(
                f"a tokenizer of {len(tokenizer)} tokens does not fit a vocabulary of "
                f"{self.vocabulary}; raise the model's vocabulary or learn a smaller one"
            )
        self.tokenizer, self.fitted = tokenizer, True

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
