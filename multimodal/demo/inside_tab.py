"""The tab "Inside": attention, denoising step by step, and what an embedding knows."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from multimodal.demo.cards import asset, polite
from multimodal.demo.inside import FILMED, caption_attention, film, film_attention, wish
from multimodal.demo.inside_view import caption_data, film_markup, known_markup, patch_data
from multimodal.demo.knowing import input_signal, what_is_known
from multimodal.demo.space_map import Host
from multimodal.folder_shards import SUFFIXES
from multimodal.unison import Unison
from multimodal.wish import LIMITS

INTRODUCTION = "Say what should be made (or nothing, for anything), and look at how it is made."
READING = """### What a caption's tokens look at
The caption that the text model writes for the wish, as the model reads it: each token looks at
those before it, the condition's tokens first, which say what the caption is to be about."""
PATCHES = """### What a picture's patches look at
The picture is 16 patches, each a token. Choose a patch on either picture: the brighter another is
tinted, the more the chosen one looks at it, at this step, in this layer and head."""
FILM = """### From noise, step by step
At each step the network sees the state above and expects the data below; the solver goes a part of
the way there. The time runs from 0, noise, to 1, data."""
KNOWING = """### What an embedding knows
Linear probes, fitted on the embeddings of training samples, read one embedding. What the words
leave out stays spread over several values."""
CHOICES = """<span class="bar"><label>layer <select class="layer"></select></label>
<label>head <select class="head"></select></label>"""
HEAT = f"""<div class="caption"></div>{CHOICES}</span><div class="said"></div>
<div class="heat"></div>"""
PLANES = f"""{CHOICES}<label>step
<input class="step" type="range" min="0" max="1" value="0"></label>
<span class="when"></span></span><div class="planes" hidden>
<figure><svg class="noisy" viewBox="0 0 256 256"></svg><figcaption>the state the network sees
</figcaption></figure><figure><svg class="clean" viewBox="0 0 256 256"></svg><figcaption>the picture
it expects</figcaption></figure></div>"""


def inside_tab(host: Host, made: Sequence[str] = FILMED) -> None:
    """Build the tab inside the `gr.Tab` that is open; `made` is what the run generates."""
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        wanted = gr.Textbox("a big red seven moves left", label="what to make", scale=3)
        seed = gr.Number(0, label="seed", precision=0, minimum=0, maximum=LIMITS["seed"][1])
        filmed = gr.Radio([m for m in FILMED if m in made], value="image", label="film of", scale=2)
        button = gr.Button("Look inside", variant="primary")
    gr.Markdown(READING)
    heat = _view(HEAT, "heat.js")
    gr.Markdown(PATCHES)
    planes = _view(PLANES, "patches.js")
    gr.Markdown(FILM)
    strip = _view()

    def look(text: str, seed: int, modality: str) -> tuple[Any, Any, str]:
        return host.call(lambda unison: looked(unison, text.strip(), int(seed), modality))

    asked = [wanted, seed, filmed]
    gr.on(
        [button.click, wanted.submit],
        polite(look),
        asked,
        [heat, planes, strip],
        api_visibility="private",
    )
    _knowing(host)


def looked(
    unison: Unison, text: str, seed: int, modality: str
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return what heat.js and patches.js show, and the markup of a film."""
    prefix = unison.stage("text").net.config.prefix
    caption = caption_data(caption_attention(unison, text, seed), prefix)
    cond = wish(unison, "image", text, seed)
    picture = film(unison, "image", cond, seed)
    patches = patch_data(picture, film_attention(unison, picture, cond))
    if modality != "image":
        picture = film(unison, modality, wish(unison, modality, text, seed), seed)
    return caption, patches, film_markup(picture)


def _knowing(host: Host) -> None:
    gr.Markdown(KNOWING)
    with gr.Row():
        words = gr.Textbox("something red", label="words", scale=3)
        kinds = list(SUFFIXES)
        file = gr.File(label="or a file", file_types=kinds, type="filepath", height=110, scale=2)
        button = gr.Button("Read")
    bars = _view()

    def know(text: str, file: str | None) -> str:
        sizes = host.call(lambda unison: unison.sizes)
        modality, signal = input_signal(text, file, sizes)
        return known_markup(host.call(lambda unison: what_is_known(unison, modality, signal)))

    gr.on([button.click, words.submit], polite(know), [words, file], bars, api_visibility="private")


def _view(template: str = "${value}", script: str = "") -> gr.HTML:
    """Return a place for markup, or for data that a script draws."""
    return gr.HTML(
        html_template=template,
        css_template=asset("exhibits.css"),
        js_on_load=asset(script) if script else None,
        apply_default_css=False,
    )
