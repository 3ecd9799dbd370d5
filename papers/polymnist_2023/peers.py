"""Train and sample a model of `multivae` on the same shards, in an environment of its own.

python -m papers.polymnist_2023.peers --run runs/poly --model mopoe --python PATH --out O
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from core.cli import command
from core.errors import UserError
from core.files import new_folder
from core.members import to_bytes
from papers.polymnist_2023.data import load_views
from papers.polymnist_2023.views import VIEWS

PeerName = Literal["mopoe", "mmvaeplus_conv", "mmvaeplus"]
WORKER = Path(__file__).with_name("multivae_worker.py")
OURS = ("towers", "embeddings", "prior", "image")
"""The stages whose CPU-seconds a peer may spend on training."""


def peers(
    run: Path,
    model: PeerName,
    python: Path,
    out: Path,
    seconds: float | None = None,
    n: int = 100,
    joint: int = 400,
    seed: int = 0,
) -> None:
    """Train a model for the CPU-seconds that all our stages took together, and let it generate.

    Args:
        run: Folder of `python -m papers.polymnist_2023.reproduce`.
        model: MoPoE, or MMVAE+ with plain convolutions or with the paper's residual networks.
        python: Interpreter of an environment that has multivae.
        out: Folder for samples.npz and training.json.
        seconds: CPU-seconds of training; without it what our stages took.
        n: Sources: the first of the test split.
        joint: Samples from nothing.
        seed: Of everything drawn.
    """
    check_interpreter(python)
    budget = our_seconds(run) if seconds is None else seconds
    if budget <= 0:
        raise UserError(f"seconds is {budget} but a model needs some; leave it out for ours")
    with new_folder(out, replace=True) as folder, tempfile.TemporaryDirectory() as scratch:
        arrays = Path(scratch) / "arrays.npz"
        np.savez(arrays, **export(run / "data", n))  # pyright: ignore[reportArgumentType]
        options = [f"--model={model}", f"--seconds={budget}", f"--joint={joint}", f"--seed={seed}"]
        files = [f"--data={arrays}", f"--out={folder / 'samples'}"]
        # Its environment has packages of its own, so ours must not be on its path.
        outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        line = [str(python), str(WORKER), *options, *files]
        done = subprocess.run(line, env=outside | {"OMP_NUM_THREADS": "1"}, check=False)
        if done.returncode:
            raise RuntimeError(f"{WORKER.name} stopped with code {done.returncode}; see above")
        (folder / "samples.json").rename(folder / "training.json")


def check_interpreter(python: Path) -> None:
    """Raise unless the interpreter is there and has the package."""
    way_out = "make one with: python -m venv V && V/bin/pip install multivae, and name V/bin/python"
    if not python.is_file():
        raise UserError(f"{python} is no interpreter; {way_out}")
    outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    line = [str(python), "-c", "import multivae.models"]
    if subprocess.run(line, env=outside, capture_output=True, check=False).returncode:
        raise UserError(f"{python} cannot import multivae; {way_out}")


def our_seconds(run: Path) -> float:
    """Return the CPU-seconds of all stages that train our system."""
    total = 0.0
    for stage in OURS:
        path = run / stage / "done.json"
        if not path.is_file():
            raise UserError(
                f"{path} is not there, so equal compute is unknown; train our system first with: "
                f"python -m papers.polymnist_2023.reproduce --out {run}, or name --seconds"
            )
        total += json.loads(path.read_text())["cpu_seconds"]
    return total


def export(data: Path, n: int) -> dict[str, np.ndarray]:
    """Return the training pictures and the sources as bytes."""
    splits = {"train": load_views(data / "train"), "test": load_views(data / "test", n)}
    return {
        f"{split}_{view}": to_bytes(views.pictures[view]).numpy()
        for split, views in splits.items()
        for view in VIEWS
    }


if __name__ == "__main__":
    command(peers)
