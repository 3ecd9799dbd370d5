"""The README.md of a folder that leaves the house: licence, data, figures, limits, how to load it.

Its header is what model hubs read. What is not known is said to be unknown.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.card_facts import (
    Figure,
    dataset_ids,
    manifest_of,
    report_of,
    reported_figures,
    trained_figures,
)
from core.manifest import Manifest

NAME = "README.md"
LICENCE = "apache-2.0"
"""Of Unison, and of what it trained from scratch."""


@dataclass(frozen=True)
class Card:
    """What only the exporter knows of a model."""

    title: str
    """The model's name."""
    summary: str
    """What it is and what it does, in a few sentences."""
    use: str
    """How it is loaded and what it takes: Markdown with code that runs in the folder's parent."""
    limits: tuple[str, ...]
    """What it cannot do, beside what the data tells."""
    library: str
    """`library_name` of the header."""
    member: str | None = None
    """Of the samples that it learnt to make, as manifests name it; None if it makes none."""
    worded: bool = False
    """Whether it reads or writes words, whose language the data tells."""
    task: str | None = None
    """`pipeline_tag` of the header."""
    figures: tuple[Figure, ...] = ()
    """What was measured at the export."""


def write_card(
    folder: Path, card: Card, found: Mapping[str, Any], path: Path, *, raw: bool, target: str | None
) -> None:
    """Write the README.md of a folder with a model.

    Args:
        folder: To write to.
        card: What the exporter knows.
        found: What the checkpoint holds.
        path: The checkpoint; its run's data, log and report are looked for around it.
        raw: Whether the weights are those that training goes on with: figures are of their average.
        target: The modality that the model generates, as reports name it; None if it does not.
    """
    manifest = manifest_of(found, path)
    figures = list(card.figures)
    if not raw:
        figures += trained_figures(found, path)
        figures += reported_figures(report_of(path), target) if target else []
    sections = {
        "Use": card.use,
        "Data": _data(manifest, found),
        "Figures": _figures(figures),
        "Limits": "\n".join(f"- {line}" for line in [*card.limits, *_limits(manifest, card)]),
        "Licence": _licence(manifest, found),
        "Origin": _origin(found, raw=raw),
    }
    text = f"---\n{_header(card, manifest, found)}---\n\n# {card.title}\n\n{card.summary}\n"
    text += "".join(f"\n## {name}\n\n{content.strip()}\n" for name, content in sections.items())
    (folder / NAME).write_text(text, encoding="utf-8")


def _header(card: Card, manifest: Manifest | None, found: Mapping[str, Any]) -> str:
    """Return the YAML that hubs read."""
    own = manifest is not None and not _converted(found)
    languages = _world(manifest).get("languages") if card.worded else None
    values = {
        "license": LICENCE if own else "unknown",
        "library_name": card.library,
        "pipeline_tag": card.task,
        "language": list(languages) if languages else None,
        "tags": ["unison"],
    }
    given = {name: value for name, value in values.items() if value is not None}
    return yaml.safe_dump(given, sort_keys=False)


def _converted(found: Mapping[str, Any]) -> bool:
    return "origin" in found["unison"]


def _world(manifest: Manifest | None) -> Mapping[str, Any]:
    return {} if manifest is None else manifest.builder.get("world", {})


def _data(manifest: Manifest | None, found: Mapping[str, Any]) -> str:
    samples, *embeddings = [f"`{name}`" for name in dataset_ids(found)]
    if manifest is None:
        named = f"data set {samples}" if dataset_ids(found)[0] else "no data set"
        told = f"The checkpoint names {named}"
        return f"{told}; its manifest was not at hand when this was written."
    facts = {
        "what": manifest.card.get("purpose"),
        "data set": f"{samples}, {manifest.samples:,} samples to train on",
        "embeddings": embeddings[0] if embeddings else None,
        "source": manifest.source,
        "licence of the material": manifest.licence,
        "built with": f"`{json.dumps(manifest.builder)}`" if manifest.builder else None,
        **{name: manifest.card.get(name) for name in ("handwriting", "combinations")},
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)


def _figures(figures: Sequence[Figure]) -> str:
    if not figures:
        return "Not measured here."
    rows = [f"| {f.name} | {f.value:.4g} | {f.origin} |" for f in figures]
    return "\n".join(["| figure | value | from |", "| --- | --- | --- |", *rows])


def _limits(manifest: Manifest | None, card: Card) -> list[str]:
    """Return what the data says of itself: it holds for what learnt from nothing else."""
    if manifest is None:
        return []
    told = manifest.card
    carried = [name.split(" ")[0] for name in told.get("carries", {}).get(card.member, ())]
    lines = [f"It knows what its data holds: {told['limits']}."] if "limits" in told else []
    for name, values in told.get("factors", {}).items():
        if card.member is None or name in carried:
            several = isinstance(values, list)
            shown = ", ".join(map(str, values)) if several else values
            lines.append(f"{name} is one of: {shown}." if several else f"{name}: {shown}.")
    languages = _world(manifest).get("languages") if card.worded else None
    return [*lines, f"Languages: {', '.join(languages)}."] if languages else lines


def _licence(manifest: Manifest | None, found: Mapping[str, Any]) -> str:
    if _converted(found):
        return (
            "The weights are those of another project and stay under its licence, which is not"
            " stated here: whoever publishes this model has to add it."
        )
    if manifest is None:
        return (
            "No licence is stated here, as the data is not known: whoever publishes this model has"
            " to add one."
        )
    return (
        "Code and weights: Apache License 2.0, as Unison. The material that it learnt from has"
        f" licences of its own ({manifest.licence}); whoever passes the model on names it, as these"
        " ask."
    )


def _origin(found: Mapping[str, Any], *, raw: bool) -> str:
    ours = found["unison"]
    if _converted(found):
        return f"Converted from {ours['origin']}."
    weights = (
        "the weights that training goes on with"
        if raw or "ema" not in found
        else "averaged weights"
    )
    return (
        f"Trained with Unison: {found.get('global_step', 0):,} steps, seed"
        f" {ours.get('seed', 'unknown')}, at commit {ours.get('commit', 'unknown')}; {weights}."
    )
