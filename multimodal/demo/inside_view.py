"""The inside of the models as markup and as data for the page's scripts."""

import base64
import math
from typing import Any

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from multimodal.demo.cards import card
from multimodal.demo.inside import CaptionAttention, Film, quantised
from multimodal.demo.knowing import Known
from multimodal.factors import size_word
from multimodal.report_media import clip_uri, image_uri
from multimodal.tuples import CARRIED

SCALE = {"image": 2, "video": 1, "audio": 1}
"""Page pixels a pixel of a film's stills; the moving pictures are twice as large."""
FPS = 8
HOLD = 8
"""Pictures for which the moving one stops at its end."""


def caption_data(attention: CaptionAttention, prefix: int) -> dict[str, Any]:
    """Return what heat.js shows; the first `prefix` tokens are the condition's."""
    layers, heads = attention.weights.shape[:2]
    return {
        "caption": attention.caption,
        "tokens": list(attention.tokens),
        "prefix": prefix,
        "layers": layers,
        "heads": heads,
        "weights": _packed(attention.weights),
    }


def patch_data(film: Film, weights: Float[Tensor, "S L N T T"]) -> dict[str, Any]:
    """Return what patches.js shows of a picture's film: all steps but the end."""
    steps, layers, heads, tokens, _ = weights.shape
    return {
        "noisy": [image_uri(x) for x in film.noisy[:steps]],
        "clean": [image_uri(x) for x in film.clean[:steps]],
        "times": list(film.trajectory.times[:steps]),
        "side": math.isqrt(tokens),
        "layers": layers,
        "heads": heads,
        "weights": _packed(weights),
    }


def film_markup(film: Film) -> str:
    """Return a film: it moving, its end, and all its stills, the noisy state above the clean."""
    height, width = film.noisy.shape[2:]
    scale = SCALE[film.modality]
    small = f'width="{width * scale}" height="{height * scale}"'
    reels = "".join(
        _figure(
            f'<img src="{reel_uri(pictures)}" width="{2 * width * scale}"'
            f' height="{2 * height * scale}" alt="{what}">',
            what,
        )
        for what, pictures in (
            ("what the solver holds", film.noisy),
            ("what the network expects", film.clean),
        )
    )
    end = _figure(card(film.modality, film.signal), "the signal")
    stills = "".join(
        _figure(
            f'<img src="{image_uri(noisy)}" {small} alt="state">'
            f'<img src="{image_uri(clean)}" {small} alt="expectation">',
            f"t = {time:.2f}",
        )
        for time, noisy, clean in zip(film.trajectory.times, film.noisy, film.clean, strict=True)
    )
    return f'<div class="reels">{reels}{end}</div><div class="film">{stills}</div>'


def reel_uri(pictures: Float[Tensor, "S 3 H W"]) -> str:
    """Return the pictures of all steps as an animated WebP that rests at the end."""
    rest = repeat(pictures[-1], "c H W -> n c H W", n=HOLD)
    return clip_uri(torch.cat([pictures, rest]), FPS)


def known_markup(known: Known) -> str:
    """Return what probes say as bars, beside how often each is right."""
    parts = []
    for factor in CARRIED["video"]:
        if factor in known.labels:
            rows = "".join(_bar(name, p) for name, p in known.labels[factor].items())
            parts.append(_factor(factor, f"right in {known.accuracy[factor]:.1%} of", rows))
    size = _bar(size_word(known.size), known.size, f"{known.size:.2f}")
    correlation = f"rank correlation {known.accuracy['size']:.2f} on"
    parts.append(_factor("size", correlation, size))
    silent = [f for f in CARRIED["video"] if f not in known.labels]
    note = f" This modality tells nothing of: {', '.join(silent)}." if silent else ""
    head = f'<p class="note">Read from the embedding of this {known.modality}.{note}</p>'
    return f'{head}<div class="bars">{"".join(parts)}</div>'


def _factor(name: str, score: str, rows: str) -> str:
    head = f'<h4>{name}</h4><div class="note">{score} validation samples</div>'
    return f"<section>{head}{rows}</section>"


def _bar(name: str, share: float, said: str = "") -> str:
    said = said or f"{share:.0%}"
    track = f'<span class="track"><i style="width:{100 * share:.1f}%"></i></span>'
    return f'<div class="row"><span>{name}</span>{track}<b>{said}</b></div>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _packed(weights: Float[Tensor, "*B T T"]) -> str:
    return base64.b64encode(quantised(weights).numpy().tobytes()).decode()
