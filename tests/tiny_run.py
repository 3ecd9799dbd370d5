"""A run whose models are tiny and untrained: what they make is noise, but reproducible."""

from pathlib import Path

import torch

from audio import AudioConfig, AudioModule
from core.checkpoint import describe
from core.denoiser import DenoiserConfig
from image import ImageConfig, ImageModule
from multimodal.alignment import AlignmentModule
from multimodal.prior import PriorModule
from text import TextConfig, TextModule
from video import VideoConfig, VideoModule

NET = DenoiserConfig(width=16, depth=1, heads=2)
WIDTH = 64


def write_tiny_run(folder: Path) -> Path:
    """Write <stage>/last.ckpt for every stage that generation needs, and return the folder."""
    torch.manual_seed(0)
    modules = {
        "alignment": AlignmentModule(),
        "prior": PriorModule(net=NET, embedding=WIDTH),
        "text": TextModule(model=TextConfig(width=16, depth=1, heads=2), cond_dim=WIDTH),
        "image": ImageModule(model=ImageConfig(net=NET), cond_dim=WIDTH),
        "audio": AudioModule(model=AudioConfig(net=NET), cond_dim=WIDTH),
        "video": VideoModule(model=VideoConfig(net=NET), cond_dim=WIDTH),
    }
    tokens = len(modules["prior"].tokens.slots)
    alike = 0.9 * torch.ones(tokens, tokens) + 0.1 * torch.eye(tokens)
    modules["prior"].covariance.copy_(torch.kron(alike, torch.eye(WIDTH)))
    for stage, module in modules.items():
        _excite(module)
        (folder / stage).mkdir(parents=True)
        state = {"state_dict": module.state_dict(), "unison": describe(module)}
        torch.save(state, folder / stage / "last.ckpt")
    return folder


def _excite(module: torch.nn.Module) -> None:
    """Undo the zeros that projections start from, so that conditions and times matter."""
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
