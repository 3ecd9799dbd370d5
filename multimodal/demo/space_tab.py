"""The tab "The shared space": the map, neighbours, and sums of embeddings."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from multimodal.demo.cards import answered, asset, card, polite, shelf
from multimodal.demo.space import Point, decoded, moved, nearest, place_of, term
from multimodal.demo.space_map import NEIGHBOURS, Host, SpaceMap, shelves
from multimodal.tuples import MODALITIES
from multimodal.unison import Unison
from multimodal.wish import LIMITS

SLOTS = ("a", "b", "c")
INTRODUCTION = """Every point is one signal of a test sample, which no model has seen, and each
sample has four. What lies together looks alike to the towers, whatever its modality. The map is a
t-SNE of the embeddings with the constant between modalities taken out: near is near, but far says
little. Neighbours and sums are taken in all dimensions of the space."""
SUMS = """### Sums
*a - b + c* as directions: "a red seven" - "red" + "blue". A term is words, or a point of the map
by its name (`image 17`; the buttons beside the map fill it in)."""
_SIDES = "".join(
    f'<label><input type="checkbox" value="{m}" checked> {mark} {m}</label>'
    for m, mark in zip(MODALITIES, "●■▲◆", strict=True)
)
TEMPLATE = f"""<div class="bar"><label>colour by <select class="factor">
<option>colour</option><option>digit</option><option>motion</option><option>size</option>
<option>modality</option></select></label><span class="bar modalities">{_SIDES}</span>
<label><input type="checkbox" class="sounds" checked> play sounds</label>
<span class="zoom"><button type="button" data-zoom="in" title="or double-click">closer</button>
<button type="button" data-zoom="out">farther</button>
<button type="button" data-zoom="all">whole</button></span></div>
<div class="stage"><svg viewBox="0 0 1000 750" role="img" aria-label="map of the space"></svg>
<div class="look"><p class="note">The samples are embedded; this takes some seconds.</p></div></div>
<div class="legend"></div><div class="near"></div>"""


def space_tab(host: Host, made: Sequence[str] = MODALITIES) -> None:
    """Build the tab inside the `gr.Tab` that is open; `made` is what the run generates."""
    space_map = SpaceMap(host)
    gr.Markdown(INTRODUCTION)
    picture = _map(space_map)
    gr.Markdown(SUMS)
    with gr.Row():
        start = gr.Textbox("a red seven", label="a")
        less = gr.Textbox("red", label="- b")
        more = gr.Textbox("blue", label="+ c")
    with gr.Row():
        to = gr.CheckboxGroup(
            list(made), value=[m for m in made if m == "image"], label="also generate", scale=2
        )
        seed = gr.Number(0, label="seed", precision=0, minimum=0, maximum=LIMITS["seed"][1])
        button = gr.Button("Add up", variant="primary")
    result = gr.HTML(css_template=asset("exhibits.css"), apply_default_css=False)

    def add_up(a: str, b: str, c: str, to: list[str], seed: int) -> str:
        return summed(host, space_map, (a, b, c), to, seed)

    terms = [start, less, more]
    button.click(polite(add_up), [*terms, to, seed], result, api_visibility="private")

    def fill(event: gr.EventData) -> Any:
        return filled(event._data)

    picture.select(fill, None, terms, api_visibility="private", queue=False)


def summed(
    host: Host, space_map: SpaceMap, words: tuple[str, str, str], to: list[str], seed: int
) -> str:
    """Return the markup of what lies nearest to a sum, after what is generated from it."""
    space = space_map.space
    a, b, c = terms = [term(space, word) for word in words]
    modality = a.modality if isinstance(a, Point) else "text"

    def compute(unison: Unison) -> tuple[Any, list[tuple[str, Any]]]:
        place = moved(*(place_of(unison, space, what).cpu() for what in terms))
        made = [
            (name, decoded(unison, modality, place.to(unison.device), name, seed=int(seed)))
            for name in to
        ]
        return place, made

    place, made = host.call(compute)
    found = nearest(space, place, NEIGHBOURS, besides=a if isinstance(a, Point) else None)
    made_cards = shelf([card(name, signal) for name, signal in made], f"{a} - {b} + {c}, generated")
    return (made_cards if made else "") + shelves(space, found, links=False)


def filled(request: Any) -> list[Any]:
    """Return updates of the three terms: the one whose button was pressed takes the point."""
    return [gr.update(value=request["name"]) if s == request["slot"] else gr.skip() for s in SLOTS]


def _map(space_map: SpaceMap) -> gr.HTML:
    def points(request: Any) -> dict[str, Any]:
        return space_map.points()

    def sample(request: Any) -> dict[str, Any]:
        return space_map.sample(str(request))

    def neighbours(request: Any) -> dict[str, Any]:
        return space_map.neighbours(str(request))

    return gr.HTML(
        html_template=TEMPLATE,
        css_template=asset("exhibits.css"),
        js_on_load=asset("space_map.js"),
        apply_default_css=False,
        server_functions=[answered(points), answered(sample), answered(neighbours)],
    )
