"""Small tokenizers of the kinds that other projects use, and models that write what is asked."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

TEXTS = ["a red seven and a blue two, and red is not the end.", "größer 12 345 日本 naïve"]
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def sentencepiece() -> Tokenizer:
    """Return a tokenizer as Llama 2 has: blanks are ▁, one more in front, which decoding strips."""
    words = sorted({piece for text in TEXTS for piece in text.replace(" ", "▁")} | {"▁"})
    rows = [*SPECIAL, *BYTES, *words, "▁a", "▁an", "▁and", "re", "red", "▁red"]
    merges = [("▁", "a"), ("▁a", "n"), ("▁an", "d"), ("r", "e"), ("re", "d"), ("▁", "red")]
    model = models.BPE(numbered(rows), merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    made = Tokenizer(model)
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(SPECIAL)
    return made


def unigram() -> Tokenizer:
    """Return a tokenizer as T5 has."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=80, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(TEXTS * 4, trainer)
    return made


def metaspace() -> Tokenizer:
    """Return pairs over ▁, the first word without one, as newer Llama conversions have."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    made.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator(TEXTS * 4, trainer)
    return made


def wordpiece() -> Tokenizer:
    """Return a tokenizer as BERT has."""
    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator(TEXTS * 4, trainer)
    return made


def wordlevel() -> Tokenizer:
    """Return a token a word; without a decoder the library joins them with blanks."""
    made = Tokenizer(models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator(TEXTS, trainer)
    return made


def suffixed() -> Tokenizer:
    """Return pairs whose words end in </w>, as GPT-1 and CLIP have."""
    made = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder()
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False
    )
    made.train_from_iterator(TEXTS * 4, trainer)
    return made


def bytelevel() -> Tokenizer:
    """Return a tokenizer as GPT-2 has."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS * 4, trainer)
    return made


KINDS: dict[str, Callable[[], Tokenizer]] = {
    made.__name__: made
    for made in (sentencepiece, unigram, metaspace, wordpiece, wordlevel, suffixed, bytelevel)
}


@cache
def library_json(kind: str) -> str:
    """Return a kind's tokenizer.json: trained once, as a Unigram differs from run to run."""
    return KINDS[kind]().to_str()


def numbered(rows: list[str]) -> dict[str, int]:
    """Return a vocabulary in this order; what occurs twice has the first number."""
    return {row: number for number, row in enumerate(dict.fromkeys(rows))}


def wrapped(kind: str) -> PreTrainedTokenizerFast:
    """Return a kind's tokenizer as transformers holds it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(library_json(kind)),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )


def save_kind(kind: str, folder: Path, *, spare_rows: int = 0, seed: int = 0) -> Any:
    """Save a small random GPT-2 with a tokenizer of a kind, as transformers does."""
    tokenizer = wrapped(kind)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer) + spare_rows,
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=64,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = GPT2LMHeadModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()
