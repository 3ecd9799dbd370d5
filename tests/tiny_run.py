"""A run whose models are tiny and untrained: what they make is noise, but reproducible."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from audio import AudioConfig, AudioModule
from core.checkpoint import describe
from core.denoiser import DenoiserConfig
from core.members import encode_clip, encode_flac, encode_npy, encode_png
from core.shards import write_shards
from image import ImageConfig, ImageModule
from multimodal.alignment import AlignmentModule
from multimodal.factors import COLOURS, MOTIONS
from multimodal.prior import PriorModule
from multimodal.tuples import MODALITIES
from text import TextConfig, TextModule
from video import VideoConfig, VideoModule

NET = DenoiserConfig(width=16, depth=2, heads=2)
WIDTH = 64
COUNT = 40
ABOUT = {"source": "noise", "licence": "none", "dropped": {}, "builder": {}}


def write_models(folder: Path) -> Path:
    """Write <stage>/last.ckpt for every stage that generation needs, and return the folder."""
    torch.manual_seed(0)
    modules = {
        "alignment": AlignmentModule(),
        "prior": PriorModule(net=NET, embedding=WIDTH),
        "text": TextModule(model=TextConfig(width=16, depth=2, heads=2), cond_dim=WIDTH),
        "image": ImageModule(model=ImageConfig(net=NET), cond_dim=WIDTH),
        "audio": AudioModule(model=AudioConfig(net=NET), cond_dim=WIDTH),
        "video": VideoModule(model=VideoConfig(net=NET), cond_dim=WIDTH),
    }
    tokens = len(modules["prior"].tokens.slots)
    alike = 0.9 * torch.ones(tokens, tokens) + 0.1 * torch.eye(tokens)
    modules["prior"].covariance.copy_(torch.kron(alike, torch.eye(WIDTH)))
    for stage, module in modules.items():
        for parameter in module.parameters():
            if not parameter.any():  # conditions and times must matter
                torch.nn.init.normal_(parameter, std=0.1)
        (folder / stage).mkdir(parents=True)
        state = {"state_dict": module.state_dict(), "unison": describe(module)}
        torch.save(state, folder / stage / "last.ckpt")
    return folder


def write_run(folder: Path) -> Path:
    """Write models, world/{train,val,test} and embeddings/{train,val}."""
    write_models(folder)
    for split in ("train", "val", "test"):
        rows = list(_signals(split))
        members = tuple(name for name in rows[0] if name != "__key__")
        write_shards(folder / "world" / split, rows, required=members, **ABOUT)
        if split != "test":
            rows = list(_embeddings())
            members = tuple(name for name in rows[0] if name != "__key__")
            write_shards(folder / "embeddings" / split, rows, required=members, **ABOUT)
    return folder


def facts(index: int) -> dict:
    """Return what a sample shows."""
    return {
        "digit": index % 10,
        "colour": COLOURS[index % 8],
        "motion": MOTIONS[index % 5],
        "size": index / COUNT,
        "held_out": False,
        "image_instance": index,
        "video_instance": index,
        "voice": "v",
    }


def _signals(split: str) -> Iterator[dict]:
    random = np.random.default_rng(len(split))
    for i in range(COUNT):
        tone = np.sin(np.arange(10_400) * random.uniform(0.05, 0.5)) * 0.5
        pixels = torch.tensor(random.integers(0, 256, (5, 3, 32, 32)), dtype=torch.uint8)
        yield {
            "__key__": f"{i:06d}",
            "txt": f"a {COLOURS[i % 8]} <{i}>".encode(),
            "png": encode_png(pixels[0]),
            "flac": encode_flac(torch.tensor(tone * 32767).to(torch.int16), 8000),
            "video.npy": encode_clip(pixels[1:]),
            "json": json.dumps(facts(i)).encode(),
        }


def _embeddings() -> Iterator[dict]:
    """Yield embeddings that tell the digit and nothing else."""
    for i in range(COUNT):
        row = torch.zeros(WIDTH)
        row[i % 10] = 1.0
        yield {"__key__": f"{i:06d}"} | {f"{m}.npy": encode_npy(row) for m in MODALITIES}
