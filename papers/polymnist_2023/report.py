"""The table and the grid of samples of all systems side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from core.files import new_file
from core.pictures import to_pillow
from papers.polymnist_2023.data import Pictures, take
from papers.polymnist_2023.samples import Samples, name
from papers.polymnist_2023.views import VIEWS

COLUMNS = 10
"""Sources, and joint samples, shown."""
HEAD = (
    "system", "steps (epochs)", "CPU-s", "1 input", "2", "3", "4", "joint",
    "FD conditional", "FD joint", "recall",
)  # fmt: skip


def table(report: Mapping[str, Any]) -> str:
    """Return the report's numbers as a table in Markdown; the last row is of real pictures."""
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [_row(system, numbers) for system, numbers in report["systems"].items()]
    real = report["real"]
    accuracy = f"{sum(real['readers'].values()) / len(VIEWS):.3f}"
    rows.append(
        ("real", "", "", *[accuracy] * 4, f"{real['joint']:.3f}",
         *[f"{real['frechet']['mean']:.4f}"] * 2, f"{real['recall']['mean']:.3f}")
    )  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(system: str, numbers: Mapping[str, Any]) -> tuple[str, ...]:
    cost = numbers.get("training", {})
    steps = f"{cost['steps']} ({cost['epochs']:g})" if "steps" in cost else ""
    shares = [numbers["conditional"][str(size)]["coherence"] for size in range(1, len(VIEWS))]
    return (
        system,
        steps,
        f"{cost['cpu_seconds']:.0f}" if "cpu_seconds" in cost else "",
        *[f"{share:.3f}" for share in shares],
        f"{numbers['joint']['coherence']:.3f}",
        *[f"{numbers['frechet'][kind]['mean']:.4f}" for kind in ("conditional", "joint")],
        f"{numbers['recall']['joint']['mean']:.3f}",
    )


def write_grid(path: Path, real: Pictures, made: Mapping[str, Samples]) -> None:
    """Draw sources and, for each system, the views from m0 (left) and joint samples (right).

    A block of five rows each: the real samples first, then the systems in order of their names.
    """
    given = VIEWS[:1]
    drawn = [len(pictures) for samples in made.values() for pictures in samples.values()]
    shown = slice(min(COLUMNS, len(real[given[0]]), *drawn))
    real = take(real, shown)
    blocks = [_block(real, real)]
    for samples in made.values():
        crossed = {v: samples[name(given, v)] for v in VIEWS if v not in given}
        joint = {v: samples[name((), v)] for v in VIEWS}
        left = {given[0]: real[given[0]], **take(crossed, shown)}
        blocks.append(_block(left, take(joint, shown)))
    line = torch.ones(3, 4, blocks[0].shape[2])
    with new_file(path) as partial:
        sheet = torch.cat([part for block in blocks for part in (block, line)][:-1], dim=1)
        to_pillow(sheet, 2).save(partial, "PNG")


def _block(left: Pictures, right: Pictures) -> Float[Tensor, "3 R C"]:
    """A row a view: pictures of `left`, a gap, pictures of `right`."""
    halves = [
        rearrange(
            torch.stack([side[view] for view in VIEWS]),
            "V B three H W -> three (V H) (B W)",
        )
        for side in (left, right)
    ]
    return torch.cat([halves[0], torch.ones_like(halves[0][..., :6]), halves[1]], dim=2)
