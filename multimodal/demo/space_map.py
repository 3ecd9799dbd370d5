"""What the map in the page asks for: its points, the sample behind one, and its neighbours.

Everything is fetched when it is needed, so the page stays small: sounds alone would be megabytes.
"""

import threading
from collections.abc import Callable
from html import escape
from typing import Any, Protocol, TypeVar, runtime_checkable

from multimodal.demo.cards import card, shelf
from multimodal.demo.space import Neighbour, Point, Space, lay_out, nearest, read_space
from multimodal.factors import COLOUR_RGB, COLOURS, MOTIONS, SIZES
from multimodal.tuples import MODALITIES
from multimodal.unison import Unison

T = TypeVar("T")
NEIGHBOURS = 4
"""Shown of each modality."""
DIGIT_COLOURS = (
    "#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f",
    "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#79706e",
)  # fmt: skip
"""Ten that are told apart on light and on dark."""


@runtime_checkable
class Host(Protocol):
    """Who runs functions on the models, one at a time."""

    def call(self, function: Callable[[Unison], T]) -> T:
        """Return what the function returns."""
        ...


class SpaceMap:
    """The space of a host's run: read when it is first asked for, then kept."""

    def __init__(self, host: Host):
        self._host, self._lock = host, threading.Lock()
        self._space: Space | None = None
        self._places: dict[str, list[list[float]]] = {}

    @property
    def space(self) -> Space:
        """Samples and embeddings."""
        self.load()
        assert self._space is not None
        return self._space

    def load(self) -> None:
        """Embed and lay out the samples, unless that was done.

        The map is laid out on the thread that asks, so that the models' one stays free.
        """
        with self._lock:
            if self._space is None:
                space = self._host.call(read_space)
                self._places = {
                    m: [[round(x, 4), round(y, 4)] for x, y in places.tolist()]
                    for m, places in lay_out(space.rows).items()
                }
                self._space = space

    def points(self) -> dict[str, Any]:
        """Return places, factors and colours of all points."""
        real = self.space.real
        factors: dict[str, list[float]] = {f: x.tolist() for f, x in real.truth.items()}
        return {
            "places": self._places,
            "factors": factors | {"size": [round(x, 4) for x in real.size.tolist()]},
            "names": {
                "digit": [str(d) for d in range(10)],
                "colour": COLOURS,
                "motion": MOTIONS,
                "size": SIZES,
            },
            "palette": {
                "digit": DIGIT_COLOURS,
                "colour": [f"rgb{COLOUR_RGB[colour]}" for colour in COLOURS],
                "motion": DIGIT_COLOURS[: len(MOTIONS)],
                "size": _shades(10),
                "modality": dict(zip(MODALITIES, DIGIT_COLOURS, strict=False)),
            },
        }

    def sample(self, name: str) -> dict[str, str]:
        """Return the markup of one point's signal, with buttons that take it as a term."""
        space = self.space
        point = self.named(name)
        buttons = "".join(
            f'<button type="button" data-slot="{slot}">use as {slot}</button>' for slot in "abc"
        )
        what = escape(space.label(point.index))
        return {
            "html": f"<h4>{escape(name)}</h4><div class='note'>{what}</div>"
            f"<div class='use'>{buttons}</div>{card(point.modality, space.signal(point))}"
        }

    def neighbours(self, name: str) -> dict[str, Any]:
        """Return the markup of a point's neighbours, and their names."""
        point = self.named(name)
        found = nearest(self.space, self.space[point], NEIGHBOURS, besides=point)
        near = [str(one.point) for row in found.values() for one in row]
        head = f"<h4>Nearest to {escape(name)} ({escape(self.space.label(point.index))})</h4>"
        return {"names": near, "html": head + shelves(self.space, found, links=True)}

    def named(self, name: str) -> Point:
        """Return the point that a page names."""
        modality, _, index = name.partition(" ")
        return self.space.check(modality, int(index) if index.isdecimal() else -1)


def shelves(space: Space, found: dict[str, list[Neighbour]], *, links: bool) -> str:
    """Return neighbours as cards, a row a modality; as links each has a button to go there."""
    return "".join(
        shelf(
            [
                card(
                    modality,
                    space.signal(one.point),
                    f"{one.similarity:.2f}: {_short(space, one)}",
                    str(one.point) if links else "",
                )
                for one in row
            ],
            modality,
        )
        for modality, row in found.items()
    )


def _short(space: Space, one: Neighbour) -> str:
    return ", ".join(space.label(one.point.index).split(", ")[:3])


def _shades(count: int) -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](i / (count - 1))) for i in range(count)]
