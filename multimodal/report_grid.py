"""The 4x4 grid of examples as one picture, for a README."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from einops import rearrange
from matplotlib.axes import Axes
from torch import Tensor

from core.files import new_file
from multimodal.examples import Examples, filmstrip
from multimodal.report_media import spectrogram
from multimodal.tuples import MODALITIES

INK, SOFT, LINE = "#1c1b19", "#6a675f", "#cfcac0"


def save_grid(examples: Examples, path: Path, k: int = 0) -> None:
    """Draw the k-th source of each modality and what each target made of it."""
    with plt.rc_context({"font.family": "serif", "font.size": 10, "text.color": INK}):
        figure, axes = plt.subplots(4, 5, figsize=(12, 6.6), width_ratios=[1, 1, 1, 1, 2.7])
        titles = ("given", "to text", "to image", "to audio", "to video")
        for row, source in zip(axes, MODALITIES, strict=True):
            _show(row[0], source, examples.sources[source][k], columns=2)
            for axis, target in zip(row[1:], MODALITIES, strict=True):
                _show(axis, target, examples.outputs[source][target][k])
            for spine in row[0].spines.values():
                spine.set(edgecolor=INK, linewidth=1.6)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, color=SOFT, fontsize=11)
        figure.tight_layout(pad=0.6)
        with new_file(path) as partial:
            figure.savefig(partial, dpi=110, facecolor="white")
        plt.close(figure)


def _show(axis: Axes, modality: str, signal: Any, *, columns: int = 4) -> None:
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(edgecolor=LINE, linewidth=0.8)
    match modality:
        case "text":
            axis.text(0.5, 0.5, _wrap(signal), ha="center", va="center", transform=axis.transAxes)
        case "image":
            axis.imshow(_pixels(signal), interpolation="nearest")
        case "audio":
            axis.imshow(spectrogram(signal), aspect="auto", interpolation="bilinear")
        case "video":
            axis.imshow(_pixels(filmstrip(signal, columns)), interpolation="nearest")


def _pixels(image: Tensor) -> np.ndarray:
    return rearrange((image.clamp(-1, 1) + 1) / 2, "C H W -> H W C").numpy()


def _wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 17))
