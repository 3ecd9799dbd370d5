"""Data that `benchmarks.gpu` makes by itself: a small paired world, its embeddings, and tokens.

A sample shows one of ten digits in one of eight colours in all four modalities, as patterns of
noise, so that a loss can fall; texts are words drawn by Zipf's law. Sizes are those of the real
data: what a step costs is the same.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from core.members import encode_clip, encode_flac, encode_npy, encode_png
from core.shards import write_shards
from text.conversations import conversations
from text.tokenizer_kinds import CHAT, SPECIAL, byte_letters
from text.tokens import tokens

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COLOURS = ["red", "green", "blue", "yellow", "cyan", "magenta", "white", "grey"]
FIELDS = ("text", "image", "audio", "video", "query.text", "query.audio")
SIZE, FRAMES, RATE, LENGTH = 32, 4, 8000, 10_400
"""Pixels of a side, frames of a clip, Hz, and waveform samples of a sound."""
ABOUT: dict[str, Any] = {"source": "benchmarks.gpu", "licence": "none", "dropped": {}}


@dataclass(frozen=True)
class Sizes:
    """How much data there is."""

    samples: int = 2048
    """Of the paired world's training split; the validation split has an eighth."""
    words: int = 1_500_000
    """Of the corpus for the large language model."""
    small_words: int = 60_000
    """Of the corpora for the small ones."""
    vocabulary: int = 50_257
    """Tokens of the large tokenizer."""
    conversations: int = 6000
    context: int = 1024
    """Tokens of a row of conversations."""
    embedding: int = 64
    """Width of the embeddings."""


SMOKE = Sizes(48, 4000, 4000, 600, 120, 64, 8)


def make_data(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Write everything that the presets train on; return how much that is.

    Args:
        folder: To write world, embeddings, char, bpe, corpus and chat into.
        sizes: How much.
    """
    for split, count in (("train", sizes.samples), ("val", max(8, sizes.samples // 8))):
        rows = _paired(count, seed=count)
        members = ("txt", "query.txt", "png", "flac", "query.flac", "video.npy", "json")
        world = write_shards(folder / "world" / split, rows, required=members, **ABOUT)
        fields = {"embedding_dim": sizes.embedding, "of": world.dataset_id}
        embedded = _embedded(count, sizes.embedding, seed=count)
        required = tuple(f"{name}.npy" for name in FIELDS)
        write_shards(
            folder / "embeddings" / split, embedded, required=required, fields=fields, **ABOUT
        )
    _texts(folder / "texts", sizes.small_words)
    tokens(str(folder / "texts"), "char", folder / "char")
    tokens(str(folder / "texts"), "bpe", folder / "bpe", vocabulary=512)
    _texts(folder / "many_texts", sizes.words)
    (folder / "large.json").write_text(large_tokenizer(sizes.vocabulary))
    tokens(str(folder / "many_texts"), str(folder / "large.json"), folder / "corpus")
    chats = folder / "chats.jsonl"
    chats.write_text("".join(f"{line}\n" for line in _chats(sizes.conversations)))
    corpus = str(folder / "corpus" / "tokenizer.json")
    conversations(chats, corpus, folder / "chat", context=sizes.context)
    return asdict(sizes)


def large_tokenizer(vocabulary: int) -> str:
    """Return a byte-level BPE tokenizer of so many tokens, as JSON; its merges are made up.

    Pairs of letters come first and pairs of those pairs follow, so that a word of four letters is
    one token. Nothing is learned, which takes minutes at 50,257 tokens.
    """
    letters = [chr(n) for n in range(ord("a"), ord("z") + 1)]
    pairs = [(a, b) for a in letters for b in letters]
    known = [*SPECIAL, *CHAT, *byte_letters()]
    both = [a + b for a, b in pairs]
    fours = ((a, b) for a in both for b in both)
    merges: list[tuple[str, str]] = []
    for pair in [*pairs, *(pair for pair, _ in zip(fours, range(vocabulary), strict=False))]:
        if len(known) == vocabulary:
            break
        merges.append(pair)
        known.append("".join(pair))
    model = models.BPE(vocab={token: n for n, token in enumerate(known)}, merges=merges)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*SPECIAL, *CHAT])
    return tokenizer.to_str()


def _paired(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield samples of all modalities."""
    random, patterns = np.random.default_rng(seed), np.random.default_rng(0)
    shapes = patterns.integers(0, 2, (len(DIGITS), SIZE, SIZE))
    colours = patterns.integers(64, 256, (len(COLOURS), 3, 1, 1))
    for i in range(count):
        digit, colour = int(random.integers(len(DIGITS))), int(random.integers(len(COLOURS)))
        picture = shapes[digit] * colours[colour] + random.integers(0, 32, (3, SIZE, SIZE))
        picture = torch.tensor(picture.clip(0, 255), dtype=torch.uint8)
        moved = [torch.roll(picture, int(frame) * 3, dims=2) for frame in range(FRAMES)]
        time = np.arange(LENGTH) / RATE
        tone = np.sin(2 * np.pi * (200 + 150 * digit) * time) + 0.1 * random.standard_normal(LENGTH)
        sound = encode_flac(torch.tensor(tone * 8000).to(torch.int16), RATE)
        yield {
            "__key__": f"{i:08d}",
            "txt": f"a {COLOURS[colour]} {DIGITS[digit]} moves left".encode(),
            "query.txt": DIGITS[digit].encode(),
            "png": encode_png(picture),
            "flac": sound,
            "query.flac": sound,
            "video.npy": encode_clip(torch.stack(moved)),
            "json": json.dumps({"digit": digit}).encode(),
        }


def _embedded(count: int, width: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield unit vectors that agree between modalities up to noise."""
    random = torch.Generator().manual_seed(seed)
    for i in range(count):
        shared = torch.randn(width, generator=random)
        noise = 0.5 * torch.randn(len(FIELDS), width, generator=random)
        rows = torch.nn.functional.normalize(shared + noise, dim=-1)
        vectors = {f"{n}.npy": encode_npy(r) for n, r in zip(FIELDS, rows, strict=True)}
        yield {"__key__": f"{i:08d}", **vectors}


def _texts(folder: Path, words: int) -> None:
    """Write documents of made-up words, of which few are frequent."""
    random = np.random.default_rng(0)
    letters = random.integers(ord("a"), ord("z") + 1, (5000, 4), dtype=np.uint8)
    lexicon = np.array([bytes(row).decode() for row in letters])
    chances = 1 / np.arange(1, len(lexicon) + 1)
    for split, count in (("train", words), ("val", words // 10)):
        drawn = random.choice(lexicon, count, p=chances / chances.sum())
        rows = (
            {"__key__": f"{n:08d}", "txt": " ".join(drawn[start : start + 2000]).encode()}
            for n, start in enumerate(range(0, count, 2000))
        )
        write_shards(folder / split, rows, required=("txt",), **ABOUT)


def _chats(count: int) -> Iterator[str]:
    """Yield conversations as JSON lines."""
    random = np.random.default_rng(0)
    for _ in range(count):
        a, b = (int(n) for n in random.integers(0, 10_000, 2))
        question = {"role": "user", "content": f"what is {a} plus {b}"}
        yield json.dumps({"messages": [question, {"role": "assistant", "content": f"{a + b}"}]})
