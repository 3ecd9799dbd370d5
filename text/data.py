"""Texts from shards: whole ones, or windows of a stream of tokens."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar, Literal

from core.batches import Plan
from core.data import ShardData
from core.errors import UserError
from core.manifest import Manifest
from core.samples import Fields, Selection
from core.shards import ShardReader
from core.storage import below, folder_at
from text.tokenizer import TextTokenizer
from text.tokenizer_files import TOKENIZER, check_written_with
from text.windows import MEMBER, Shifted, Windows


class TextData(ShardData):
    """Batches with `text`: B strings, or windows of tokens where the shards hold these.

    `python -m text.shards` writes the first kind, `python -m text.tokens` the other. A window gives
    `tokens` Int64[B T] and `targets` Int64[B T], and `documents` Int64[B T] if these are `apart`.
    """

    members: ClassVar = {"text": "txt"}
    embedding: ClassVar = "text.npy"

    def __init__(
        self,
        root: str,
        context: int = 0,
        packing: Literal["together", "apart"] = "together",
        **kwargs: Any,
    ):
        """Take shards at `root`.

        Args:
            root: Folder that holds a folder of shards for each split.
            context: Tokens of a window; linked from the model.
            packing: Whether a token sees those of other documents in its window.
            **kwargs: As for `ShardData`.
        """
        super().__init__(root, **kwargs)
        self.context, self.packing = context, packing

    @classmethod
    def link(cls, config: Any) -> None:
        """Link the model's context and, of token shards, the size of the vocabulary."""
        super().link(config)
        config.data.context = config.model.model.context
        fields = Manifest.load(below(config.data.root, config.data.train)).fields
        if "vocabulary" in fields:
            config.model.model.vocabulary = fields["vocabulary"]

    @cached_property
    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer of token shards; None where they hold texts."""
        fields = Manifest.load(below(self.root, self.splits["train"])).fields
        if "tokenizer" not in fields:
            return None
        folder = folder_at(self.root, self.remote)
        try:
            with folder.open(TOKENIZER) as file:
                tokenizer = TextTokenizer(file.read().decode())
        except FileNotFoundError as error:
            raise UserError(
                f"{folder.where(TOKENIZER)} is not there; bring it back, or build the tokens again "
                "with: python -m text.tokens"
            ) from error
        check_written_with(tokenizer, fields, self.root)
        return tokenizer

    def samples_of(self, reader: ShardReader, split: Literal["train", "val"]) -> Selection:
        """Return windows of token shards, and the samples of others."""
        if MEMBER not in reader.manifest.members:
            return super().samples_of(reader, split)
        return self.windows_of(reader, split, self.context)

    def windows_of(
        self, reader: ShardReader, split: Literal["train", "val"], context: int
    ) -> Windows:
        """Return windows of token shards, of training or the whole of a split."""
        assert self.tokenizer is not None
        return Windows(
            reader,
            context,
            self.tokenizer.bos,
            apart=self.packing == "apart",
            whole=split == "val",
            keep=self.cache,
            on_error=self.on_error,
        )

    def plan(
        self, samples: Selection, batch_size: int, rank: int, world: int
    ) -> Callable[[int], Plan]:
        """Return the order of training; windows start elsewhere in each epoch."""
        if not isinstance(samples, Windows):
            return super().plan(samples, batch_size, rank, world)
        return Shifted(samples.sizes, self.context, self.seed, self.window, batch_size, rank, world)

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a text."""
        return {"text": members["txt"].decode("utf-8")}
