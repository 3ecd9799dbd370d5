"""Emergent alignment: what appears between modalities that were never paired.

    python -m multimodal.emergent --run runs/quickstart --anchors text video

Towers are trained as a star around one modality, and the prior on data that shows of each sample
the anchor and one other modality only; generators go on from the run's own under the new
embeddings. Retrieval and generation are measured in the six directions that no sample ever showed,
beside the run itself, which saw all pairs. Writes <run>/emergent.json and adds its table to the
run's report.

Source: Girdhar et al. 2023 (ImageBind), where the anchor is the image.
"""

import json
import sys
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

from core.checkpoint import read_checkpoint
from core.cli import command, plain_options
from core.devices import usable_cores
from core.files import new_file
from multimodal.evaluate import draw_tuples, measure_directions
from multimodal.quickstart import Runner
from multimodal.readers import Reader, load_readers, restrict
from multimodal.report import models_id, publish
from multimodal.report_baselines import markdown_head
from multimodal.report_emergent import COLUMNS, emergent_rows
from multimodal.space import retrieval
from multimodal.stages import Preset, Stage, stages
from multimodal.systems import embed_all
from multimodal.towers import GENERATORS, ModalityName
from multimodal.tuples import CARRIED, MODALITIES, Tuples
from multimodal.unison import Unison

TRAINED = ("alignment", "prior", *MODALITIES)
COMMON = tuple(f for f in CARRIED["text"] if all(f in CARRIED[m] for m in MODALITIES))
"""Labels that every link of a star carries, whatever its anchor: no other can come through it."""
SHARE = 0.3
"""Steps of a generator under the new embeddings, as a share of those it was trained for."""


def emergent(
    run: Path = Path("runs/quickstart"),
    anchors: tuple[ModalityName, ...] = ("text", "video"),
    split: Literal["val", "test"] = "val",
    n: int = 250,
    seed: int = 0,
    preset: Preset = "cpu",
    smoke: bool = False,
) -> None:
    """Train a star around each anchor, measure never-paired directions, print a table.

    Args:
        run: Folder of `make quickstart`.
        anchors: Modalities to take as the centre, one after the other.
        split: Validation while developing; test for what is reported.
        n: Sources a direction.
        seed: Draws the sources and everything that is generated.
        preset: Sizes for CPU cores or for one GPU, as for the run.
        smoke: Two steps a stage: shows that everything runs.
    """
    real = draw_tuples(run / "world" / split, n, seed)
    readers = restrict(load_readers(run / "readers"), real)
    jobs = 1 if preset == "gpu" else min(2, usable_cores())
    report: dict[str, Any] = {"split": split, "n": n, "seed": seed, "stars": {}}
    print(markdown_head(["anchor", "never-paired direction", *COLUMNS]))
    for anchor in anchors:
        out = run / "emergent" / anchor
        out.mkdir(parents=True, exist_ok=True)
        Runner(out, star_stages(run, anchor, preset, smoke), jobs).run()
        star = Unison(run, replace={stage: out / stage for stage in TRAINED})
        both = [_measured(system, readers, real, n, seed) for system in (star, Unison(run))]
        report["stars"][anchor] = rows = _rows(anchor, *both)
        for cells in emergent_rows({anchor: rows}):
            print(f"| {' | '.join(cells)} |", flush=True)
    with new_file(run / "emergent.json") as path:
        path.write_text(json.dumps(report | {"models": models_id(run)}, indent=1) + "\n")
    if (run / "report.json").is_file():
        publish(run)


def star_stages(run: Path, anchor: str, preset: Preset, smoke: bool) -> list[Stage]:
    """Return the stages of one star, each the quick start's own with other inputs."""
    own = {stage.name: stage for stage in stages(run, preset, smoke)}
    out = run / "emergent" / anchor
    moved = {
        str(run / "alignment" / "last.ckpt"): str(out / "alignment" / "last.ckpt"),
        str(run / "embeddings"): str(out / "embeddings"),
    }

    def plan(name: str, *more: str, needs: tuple[str, ...]) -> Stage:
        stage = own[name]
        arguments = tuple(moved.get(argument, argument) for argument in stage.arguments)
        return Stage(
            name, (*arguments, *more), needs, stage.packages, stage.kind, stage.minutes, stage.alone
        )

    shown = ("--embeddings", str(out / "embeddings"), "--out", str(out / "shown"))
    prior = plan("prior", "--data.root", str(out / "shown"), "--model.tokens.plan", anchor,
                 needs=("shown",))  # fmt: skip
    return [
        plan("alignment", "--model.anchor", anchor, needs=()),
        plan("embeddings", needs=("alignment",)),
        Stage("shown", ("multimodal.conditions", *shown, "--kind", "star", "--anchor", anchor),
              ("embeddings",), kind="data", minutes=0.2, alone=True),
        prior,
        *(plan(m, *_continued(run, m, smoke), needs=("embeddings",)) for m in MODALITIES),
    ]  # fmt: skip


def _continued(run: Path, modality: str, smoke: bool) -> tuple[str, ...]:
    """Return the options that let a generator go on from the run's own."""
    start = run / modality / "last.ckpt"
    trained = read_checkpoint(start, GENERATORS[modality].kind)["global_step"]
    steps = 2 if smoke else max(1, round(SHARE * trained))
    return ("--init", str(start), "--trainer.max_steps", str(steps))


def _measured(
    system: Unison, readers: Mapping[str, Reader], real: Tuples, n: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return retrieval and generation of every cross direction."""
    made = measure_directions(system, readers, real, n, seed, COMMON)["directions"]
    found = retrieval(embed_all(system, real.signals), real)
    return {
        name: {"R@10": row["R@10"], "strict": made[name]["strict"], "ratio": made[name]["ratio"]}
        for name, row in found.items()
    }


def never_paired(anchor: str) -> list[str]:
    """Return the directions between modalities that share no sample of the star."""
    return ["->".join(pair) for pair in permutations(MODALITIES, 2) if anchor not in pair]


def _rows(
    anchor: str, star: Mapping[str, dict[str, float]], pairs: Mapping[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    return {
        name: star[name] | {f"{key} all pairs": value for key, value in pairs[name].items()}
        for name in never_paired(anchor)
    }


if __name__ == "__main__":
    flags = {"--smoke": "--smoke"}
    command(emergent, plain_options(sys.argv[1:], lists=("--anchors",), flags=flags))
