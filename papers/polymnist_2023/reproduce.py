"""The whole comparison: shards, readers, our system, its peers at equal compute, the report.

    python -m papers.polymnist_2023.reproduce --out runs/poly --python V/bin/python

Stages run one after another on one thread each. One that is done is skipped, one that was
interrupted resumes.
"""

from dataclasses import replace
from pathlib import Path

from core.cli import command
from core.devices import usable_cores
from core.errors import UserError
from multimodal.digits import DigitSource
from multimodal.quickstart import Runner, write_stages
from multimodal.stages import Stage

HERE = "papers/polymnist_2023"
OURS = ("core", "image", "multimodal", HERE)
PEERS = ("mopoe", "mmvaeplus_conv", "mmvaeplus")


def reproduce(
    out: Path = Path("runs/poly"),
    python: Path | None = None,
    seconds: float | None = None,
    digits: DigitSource = "sklearn",
    source: Path | None = None,
    peers: tuple[str, ...] = PEERS,
    smoke: bool = False,
    seed: int = 0,
) -> None:
    """Run all stages that are not done yet and print the table.

    Args:
        out: Folder of the run.
        python: Interpreter of an environment with multivae; without it ours runs alone.
        seconds: CPU-seconds that each peer trains for; without it what our stages took.
        digits: Handwriting: scikit-learn's scans, or MNIST.
        source: Folder of MNIST's idx files.
        peers: Which of mopoe, mmvaeplus_conv and mmvaeplus.
        smoke: Two steps a stage on a tiny world: shows that everything runs, teaches nothing.
        seed: Of everything trained.
    """
    unknown = set(peers) - set(PEERS)
    if unknown:
        raise UserError(f"{min(unknown)} is no peer; choose from {', '.join(PEERS)}")
    out.mkdir(parents=True, exist_ok=True)
    drawn = ["--digits", digits, *(["--source", str(source)] if source else [])]
    plan = our_stages(out, drawn, smoke, seed)
    if python:
        plan += peer_stages(out, python, seconds, peers, smoke, seed)
    plan += measuring_stages(out, smoke)
    # Each stage waits for the one before it: timings count, and what runs beside them would show.
    runner = Runner(out, chain(plan), usable_cores())
    runner.run()
    write_stages(out, runner.rows)
    print((out / "evaluate" / "table.md").read_text())


def chain(plan: list[Stage]) -> list[Stage]:
    """Return the stages so that each needs the one before it."""
    before = [(), *[(stage.name,) for stage in plan]]
    return [replace(stage, needs=need) for stage, need in zip(plan, before, strict=False)]


def our_stages(out: Path, drawn: list[str], smoke: bool, seed: int) -> list[Stage]:
    """Return what builds the world, and trains and samples our system."""
    data, embeddings = out / "data", out / "embeddings"
    tiny = ("--train", "256", "--readers", "64", "--val", "128", "--test", "64") if smoke else ()
    size = ("--n", "8", "--joint", "16") if smoke else ()
    towers = out / "towers" / "last.ckpt"

    def train(module: str, config: str, *more: str) -> tuple[str, ...]:
        overlay = ("--config", "configs/smoke.yaml") if smoke else ()
        seeded = ("--seed_everything", str(seed)) if seed else ()
        return (module, "--config", f"{HERE}/{config}.yaml", *overlay, *seeded, *more)

    def own(verb: str, *more: str) -> tuple[str, ...]:
        return (f"papers.polymnist_2023.{verb}", *more)

    return [
        Stage("data", own("shards", "--out", str(data), *drawn, *tiny), packages=OURS, kind="data"),
        Stage("towers", train("papers.polymnist_2023.train_towers", "towers",
                              "--data.root", str(data)), packages=OURS),
        Stage("embeddings", own("embed", "--towers", str(towers), "--data", str(data),
                                "--out", str(embeddings)), packages=OURS, kind="data"),
        Stage("prior", train("papers.polymnist_2023.train_prior", "prior",
                             "--data.root", str(embeddings / "tokens")), packages=OURS),
        Stage("image", train("image.train", "image", "--samples", "1",
                             "--data.root", str(embeddings / "pictures"),
                             "--data.embeddings", str(embeddings / "conditions")),
              packages=OURS),
        Stage("ours", own("generate", "--run", str(out), "--out",
                          str(out / "ours" / "samples.npz"), *size),
              packages=OURS, kind="measure"),
    ]  # fmt: skip


def peer_stages(
    out: Path, python: Path, seconds: float | None, peers: tuple[str, ...], smoke: bool, seed: int
) -> list[Stage]:
    """Return what trains and samples each peer."""
    options = ["--run", str(out), "--python", str(python), "--seed", str(seed)]
    options += ["--n", "8", "--joint", "16", "--seconds", "1"] if smoke else []
    options += ["--seconds", str(seconds)] if seconds is not None and not smoke else []
    verb = "papers.polymnist_2023.peers"
    return [
        Stage(peer, (verb, *options, "--model", peer, "--out", str(out / peer)),
              packages=OURS, kind="measure")
        for peer in peers
    ]  # fmt: skip


def measuring_stages(out: Path, smoke: bool) -> list[Stage]:
    """Return what trains the readers and reads all systems."""
    few = ("--steps", "2") if smoke else ()
    data, readers = str(out / "data"), str(out / "readers")
    read = ("papers.polymnist_2023.readers", "--data", data, "--out", readers, *few)
    words = ("--run", str(out), "--out", str(out / "evaluate"))
    line = ("papers.polymnist_2023.evaluate", *words)
    return [
        Stage("readers", read, packages=OURS, kind="measure"),
        Stage("evaluate", line, packages=OURS, kind="measure"),
    ]


if __name__ == "__main__":
    command(reproduce)
