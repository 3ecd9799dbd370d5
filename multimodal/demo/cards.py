"""Signals as pieces of a page: captions, pictures, clips that loop, sounds with spectrograms."""

from collections.abc import Callable
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from multimodal.demo.service import QueueFull
from multimodal.report_html import FPS, RATE
from multimodal.report_media import clip_uri, image_uri, sound_uri, spectrogram_uri

P = ParamSpec("P")
R = TypeVar("R")


def card(modality: str, signal: Any, title: str = "", name: str = "") -> str:
    """Return the markup of one signal; media are data URIs, so a page needs no other file.

    Args:
        modality: Of the signal.
        signal: As the generators make it, and readers of files give it.
        title: A line above it.
        name: Of a point on the map; the line above is then a button that names it.
    """
    head = f'<div class="title">{escape(title)}</div>' if title else ""
    if name:
        head = (
            f'<button type="button" class="go" data-name="{escape(name)}">{escape(title)}</button>'
        )
    return f'<div class="card {modality}">{head}{_media(modality, signal)}</div>'


def shelf(cards: list[str], title: str = "") -> str:
    """Return cards side by side under a heading."""
    head = f"<h4>{escape(title)}</h4>" if title else ""
    return f'{head}<div class="shelf">{"".join(cards)}</div>'


def asset(name: str) -> str:
    """Return the text of a style sheet or script that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def polite(handler: Callable[P, R]) -> Callable[P, R]:
    """Return a handler whose ValueError, OSError and QueueFull, no defects, the page shows."""
    import gradio

    @wraps(handler)
    def handled(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except (ValueError, OSError, QueueFull) as error:
            raise gradio.Error(str(error), print_exception=False) from error

    return handled


def answered(function: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """Return a function for a script in the page; of a mistake it returns `wrong` and its line."""

    @wraps(function)
    def answer(request: Any) -> dict[str, Any]:
        try:
            return function(request)
        except (ValueError, OSError, QueueFull) as error:
            return {"wrong": True, "html": f'<p class="wrong">{escape(str(error))}</p>'}

    return answer


def _media(modality: str, signal: Any) -> str:
    match modality:
        case "text":
            return f"<p>{escape(signal) or '<em>nothing</em>'}</p>"
        case "image":
            return f'<img src="{image_uri(signal)}" alt="picture">'
        case "audio":
            picture = f'<img src="{spectrogram_uri(signal)}" alt="spectrogram">'
            return f'{picture}<audio controls src="{sound_uri(signal, RATE)}"></audio>'
        case _:
            return f'<img src="{clip_uri(signal, FPS)}" alt="clip">'
