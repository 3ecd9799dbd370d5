"""What a run can do on the page: it may lack modalities, and the world that some tabs show."""

import json
from dataclasses import dataclass
from pathlib import Path

from core.shards import ShardReader
from multimodal.towers import MODALITIES
from multimodal.unison import Unison

FACTORS = {"digit", "colour", "motion", "size"}
"""What the world's samples are labelled with."""


@dataclass(frozen=True)
class Offer:
    """Modalities that a run takes and makes."""

    inputs: tuple[str, ...]
    """Those with a tower."""
    outputs: tuple[str, ...]
    """Those with a generator."""


def offer_of(unison: Unison) -> Offer:
    """Return the modalities that a run has models for."""
    towers = unison.stage("alignment").towers
    modelled = unison.stage("prior").tokens.modalities
    there = [m for m in MODALITIES if m in modelled]
    made = [m for m in there if (unison.run / m / "last.ckpt").is_file()]
    return Offer(tuple(m for m in there if m in towers), tuple(made))


def why_no_map(unison: Unison, offer: Offer) -> str | None:
    """Return why the shared space cannot be shown, in a line; None if it can."""
    folder = unison.run / "world" / "test"
    lacks = ", ".join(m for m in MODALITIES if m not in offer.inputs)
    if lacks:
        return f"The map shows all four modalities, and this run has no tower for {lacks}."
    if not (folder / "manifest.json").is_file():
        return (
            f"The map is drawn from the world's test samples, and `{folder}` is not there: this "
            "run was trained on other data, or its world was not copied along."
        )
    if not is_labelled(folder):
        return f"The map is labelled with {', '.join(sorted(FACTORS))}, which `{folder}` lacks."
    return None


def is_labelled(folder: Path) -> bool:
    """Tell whether a split's samples carry the world's factors."""
    reader = ShardReader(folder)
    if "json" not in reader.manifest.members or not len(reader):
        return False
    return json.loads(reader.read(0, ["json"])["json"]).keys() >= FACTORS


def why_no_inside(offer: Offer) -> str | None:
    """Return why the insides cannot be shown, in a line; None if they can."""
    needed = {"text", "image"}
    lacks = needed - {*offer.outputs} or {"text"} - {*offer.inputs}
    if not lacks:
        return None
    return (
        f"The insides are shown of captions and pictures, and this run has no {min(lacks)} model."
    )
