"""Train what systems of another design need, at the same size, on the same data.

    python -m multimodal.rivals --run runs/quickstart
    python -m multimodal.baselines --run runs/quickstart --split test

- any: every generator is told the embedding of whichever modality is at hand, so that none of them
  needs a prior;
- shared: every generator is told one latent, the mean of the sample's embeddings;
- at_once: the joint prior without a plan: its flow samples all missing embeddings together.
"""

import sys
from pathlib import Path
from typing import Literal

from core.cli import command, plain_options
from core.devices import usable_cores
from core.errors import UserError
from multimodal.quickstart import Runner
from multimodal.stages import Preset, Stage, stages

Rival = Literal["any", "shared", "at_once"]
RIVALS: tuple[Rival, ...] = ("any", "shared", "at_once")
GENERATED = ("image", "audio", "video", "text")


def rivals(
    run: Path = Path("runs/quickstart"),
    only: tuple[Rival, ...] = RIVALS,
    preset: Preset = "cpu",
    smoke: bool = False,
    jobs: int | None = None,
) -> None:
    """Train the rivals of a whole run, each into <run>/rivals/<name>.

    Args:
        run: Folder of `make quickstart`: its world, embeddings and vocoder are used.
        only: Which of them.
        preset: Sizes for CPU cores or for one GPU, as for the run.
        smoke: Two steps a stage: shows that everything runs.
        jobs: Stages side by side; by default a core each up to two, or one on a GPU.
    """
    if not (run / "embeddings").is_dir():
        raise UserError(f"{run} has no embeddings; train the whole first: make quickstart")
    jobs = jobs or (1 if preset == "gpu" else min(2, usable_cores()))
    for name in only:
        out = run / "rivals" / name
        out.mkdir(parents=True, exist_ok=True)
        Runner(out, rival_stages(run, name, preset, smoke), jobs).run()


def rival_stages(run: Path, name: Rival, preset: Preset, smoke: bool) -> list[Stage]:
    """Return the stages of one rival, each the quick start's own with other inputs."""
    own = {stage.name: stage for stage in stages(run, preset, smoke)}
    if name == "at_once":
        arguments = (*own["prior"].arguments, "--model.tokens.plan", "null")
        return [Stage("prior", arguments, packages=own["prior"].packages, minutes=6.0)]
    out = run / "rivals" / name
    told = ("--embeddings", str(run / "embeddings"), "--out", str(out / "embeddings"))
    written = Stage(
        "embeddings",
        ("multimodal.conditions", *told, "--kind", name),
        kind="data",
        minutes=0.2,
        alone=True,
    )
    return [written, *(_elsewhere(own[m], run, out) for m in GENERATED)]


def _elsewhere(stage: Stage, run: Path, out: Path) -> Stage:
    """Return a generator's stage with the rival's embeddings, and its image model for clips."""
    moved = {str(run / "embeddings"): str(out / "embeddings")}
    moved[str(run / "image" / "last.ckpt")] = str(out / "image" / "last.ckpt")
    arguments = tuple(moved.get(argument, argument) for argument in stage.arguments)
    needs = tuple(need for need in stage.needs if need != "vocoder")
    return Stage(stage.name, arguments, needs, stage.packages, minutes=stage.minutes)


if __name__ == "__main__":
    command(rivals, plain_options(sys.argv[1:], lists=("--only",), flags={"--smoke": "--smoke"}))
