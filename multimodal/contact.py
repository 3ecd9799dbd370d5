"""The contact sheet: what was given and what came out, on one picture."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from core.files import new_file
from core.pictures import to_pillow
from multimodal.report_media import spectrogram

TILE = 128
"""Height of a row, and width of a picture."""
GAP = 8
WIDTHS = {"text": 220, "image": TILE, "audio": 200, "video": 4 * TILE + 3 * 2}
ROWS = 100
"""Samples shown at most."""


def write_contact_sheet(
    path: Path, given: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]
) -> None:
    """Draw a row of what was given, if anything, and a row a sample, a column a modality.

    Args:
        path: PNG file to write.
        given: Modality -> one signal.
        rows: Label (the seed) -> modality -> one signal. Those after the first ROWS are left out.
    """
    shown = ({"given": given} if given else {}) | dict(list(rows.items())[:ROWS])
    columns = [name for name in WIDTHS if any(name in row for row in shown.values())]
    label = 60
    width = label + sum(WIDTHS[name] + GAP for name in columns) + GAP
    sheet = Image.new("RGB", (width, GAP + len(shown) * (TILE + GAP)), "#e8e8e8")
    for number, (name, row) in enumerate(shown.items()):
        top = GAP + number * (TILE + GAP)
        ImageDraw.Draw(sheet).text((GAP, top), name, "black", _font(12))
        left = label + GAP
        for modality in columns:
            if modality in row:
                sheet.paste(_tile(modality, row[modality]), (left, top))
            left += WIDTHS[modality] + GAP
    with new_file(path) as partial:
        sheet.save(partial, "PNG")


def _tile(modality: str, signal: Any) -> Image.Image:
    size = (WIDTHS[modality], TILE)
    match modality:
        case "text":
            return _page(signal, size)
        case "image":
            return to_pillow(signal).resize(size, Image.Resampling.NEAREST)
        case "audio":
            return Image.fromarray(spectrogram(signal)).resize(size, Image.Resampling.NEAREST)
        case _:
            return film_strip(signal).resize(size, Image.Resampling.NEAREST)


def film_strip(video: Float[Tensor, "F 3 H W"]) -> Image.Image:
    """Lay the frames side by side, with a thin line between them."""
    line = torch.zeros_like(video[..., :1])
    return to_pillow(rearrange(torch.cat([video, line], -1), "f c h w -> c h (f w)")[..., :-1])


def _page(text: str, size: tuple[int, int]) -> Image.Image:
    page = Image.new("RGB", size, "white")
    shown = "".join(c if c.isprintable() else "�" for c in text)  # fonts refuse a NUL
    lines: Sequence[str] = textwrap.wrap(shown, 26)[:7] or ["(empty)"]
    ImageDraw.Draw(page).multiline_text((GAP, GAP), "\n".join(lines), "black", _font(14))
    return page


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib's wheel holds, so that sheets are alike everywhere."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)
