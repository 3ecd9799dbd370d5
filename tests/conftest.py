"""A tiny paired dataset with embeddings, made once, and the options of a tiny run."""

import json
import os

import numpy as np
import pytest
import torch

from core.members import encode_clip, encode_flac, encode_npy, encode_png
from core.shards import write_shards
from text.tokens import tokens

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
for package in ("HF_HUB", "HF_DATASETS"):
    os.environ[f"{package}_OFFLINE"] = "1"
WORDS = ["seven", "red", "moves", "left", "a", "big", "blue", "three", "still", "up"]
EMBEDDING = 8


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _samples(split: str, count: int):
    random = np.random.default_rng([len(split), count])
    for i in range(count):
        text = " ".join(random.choice(WORDS, 5))
        tone = np.sin(np.arange(10400) * random.uniform(0.05, 0.5)) * 0.5
        sound = encode_flac(torch.tensor(tone * 32767).to(torch.int16), 8000)
        yield {
            "__key__": f"{i:06d}",
            "txt": text.encode(),
            "query.txt": text.split()[0].encode(),
            "png": encode_png(
                torch.tensor(random.integers(0, 256, (3, 32, 32)), dtype=torch.uint8)
            ),
            "flac": sound,
            "query.flac": sound,
            "video.npy": encode_clip(
                torch.tensor(random.integers(0, 256, (4, 3, 32, 32)), dtype=torch.uint8)
            ),
            "json": json.dumps({"digit": i % 10}).encode(),
        }


def _embeddings(count: int):
    torch.manual_seed(count)
    names = ["text", "image", "audio", "video", "query.text", "query.audio"]
    for i in range(count):
        rows = torch.nn.functional.normalize(torch.randn(len(names), EMBEDDING), dim=-1)
        members = {f"{n}.npy": encode_npy(r) for n, r in zip(names, rows, strict=True)}
        yield {"__key__": f"{i:06d}", **members}


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory):
    """Return a folder with `train` (24) and `val` (8) of everything, and `embeddings` beside."""
    root = tmp_path_factory.mktemp("tiny")
    about = {"source": "noise", "licence": "none", "dropped": {}, "builder": {"seed": 0}}
    for split, count in (("train", 24), ("val", 8)):
        rows = list(_samples(split, count))
        members = tuple(name for name in rows[0] if name != "__key__")
        manifest = write_shards(root / split, rows, required=members, per_shard=10, **about)
        rows = list(_embeddings(count))
        members = tuple(name for name in rows[0] if name != "__key__")
        fields = {"embedding_dim": EMBEDDING, "of": manifest.dataset_id}
        write_shards(root / "embeddings" / split, rows, required=members, fields=fields, **about)
    return root


@pytest.fixture(scope="session")
def token_shards(tmp_path_factory):
    """Return a folder of token shards, long enough for the longest context."""
    folder = tmp_path_factory.mktemp("tokens")
    for split in ("train", "val"):
        text = " ".join(str(n * len(split)) for n in range(2000)).encode()
        about = {"source": "numbers", "licence": "none", "dropped": {}, "builder": {}}
        row = {"__key__": "0", "txt": text}
        write_shards(folder / "texts" / split, [row], required=("txt",), **about)
    tokens(str(folder / "texts"), "char", folder / "tokens")
    return folder / "tokens"
