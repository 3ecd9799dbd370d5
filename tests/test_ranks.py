"""Training on several processes is training on one: same batches, same gradients, same numbers.

Float32 sums in another order differ in their last bits: tolerances are absolute, of weights of
order 1 after five steps.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.checkpoint import read_checkpoint
from tests.training import TRAINERS

GLOBAL_BATCH = 6
TOLERANCE = 1e-6
ROOT = Path(__file__).resolve().parents[1]
EVERY = (
    "--model.optim.schedule.decay=0", "--save_every=1", "--samples=1", "--trainer.accelerator=cpu",
    "--trainer.val_check_interval=3", "--trainer.log_every_n_steps=1",
)  # fmt: skip


def options(name, world, out, ranks):
    trainer = TRAINERS[name]
    argv = [f"--data.root={world}", f"--out={out}", *trainer.options, *EVERY]
    if trainer.embeddings:
        argv.append(f"--data.embeddings={world / 'embeddings'}")
    argv.append(f"--data.batch_size={GLOBAL_BATCH // ranks}")
    return [*argv, f"--trainer.devices={ranks}", *(["--trainer.strategy=ddp"] if ranks > 1 else [])]


def launch(module, world, out, ranks, *more, name="image"):
    """Train by the command, which starts the other ranks itself."""
    words = [*module.split(), *options(name, world, out, ranks), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, timeout=300,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def trained(module, world, out, ranks, *more, name="image"):
    done = launch(module, world, out, ranks, *more, name=name)
    assert done.returncode == 0, done.stderr[-3000:]
    return read_checkpoint(out / "last.ckpt"), losses(out)


def losses(out):
    with (out / "metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def assert_alike(one, other):
    for part in ("state_dict", "ema"):
        for name, value in one[0][part].items():
            torch.testing.assert_close(
                other[0][part][name], value, atol=TOLERANCE, rtol=0, msg=f"{part} {name}"
            )
    for row, again in zip(one[1], other[1], strict=True):
        assert again == pytest.approx(row, abs=1e-5)


def flat(state):
    """Return the moments of all parameters by name."""
    return {
        f"{name} of {parameter}": value
        for parameter, moments in state.items()
        for name, value in moments.items()
        if isinstance(value, torch.Tensor)
    }


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """Five steps of image training in one process."""
    out = tmp_path_factory.mktemp("whole")
    return trained("image.train", tiny_world, out, 1, "--trainer.max_steps=5")


@pytest.fixture(scope="module")
def two(tiny_world, tmp_path_factory):
    """Three steps of the same by two ranks, and the folder."""
    out = tmp_path_factory.mktemp("two")
    trained("image.train", tiny_world, out, 2, "--trainer.max_steps=3")
    return out


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_checkpoint_of_two_ranks_goes_on_with_any_number_as_if_one_had_done_it_all(
    ranks, whole, two, tiny_world, tmp_path
):
    resume = f"--resume={two / 'last.ckpt'}"
    (tmp_path / "metrics.csv").write_bytes((two / "metrics.csv").read_bytes())
    more = trained("image.train", tiny_world, tmp_path, ranks, "--trainer.max_steps=5", resume)
    assert_alike(whole, more)


def test_contrastive_training_with_gathered_negatives_is_that_of_one_process(tiny_world, tmp_path):
    one, two = (
        trained("multimodal.train", tiny_world, tmp_path / str(ranks), ranks,
                "--trainer.max_steps=3", name="alignment")
        for ranks in (1, 2)
    )  # fmt: skip
    for row, again in zip(one[1], two[1], strict=True):
        assert again == pytest.approx(row, abs=1e-5)
    # The moments are what gradients add up to; the updates made of them, of unit length, magnify
    # the last bits of the smallest.
    ours, theirs = (flat(run[0]["optimizer_states"][0]["state"]) for run in (one, two))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=2e-7, rtol=1e-4, msg=name)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_ends_the_job_in_one_line(rank, tiny_world, tmp_path):
    done = launch(f"tests.dying_rank {rank}", tiny_world, tmp_path, 2, "--trainer.max_steps=5")
    assert done.returncode in (2, -9)
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error")]
    assert line.startswith(f"error: rank {1 - rank} lost another rank")
    assert line.endswith(f"go on with --resume {tmp_path}/last.ckpt")
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
