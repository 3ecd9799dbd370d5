"""Training by the command on several processes, and how to tell that it was that of one."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import torch

from core.checkpoint import read_checkpoint
from core.train_cli import train
from tests.training import TRAINERS, latest

GLOBAL_BATCH = 6
TOLERANCE = 1e-6
LIMIT = 600
"""Seconds after which ranks that have not ended never will."""
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
EVERY = (
    "--model.optim.schedule.decay=0", "--save_every=1", "--samples=1", "--trainer.accelerator=cpu",
    "--trainer.val_check_interval=3", "--trainer.log_every_n_steps=1",
)  # fmt: skip


def options(name, world, out, ranks, strategy="ddp"):
    trainer = TRAINERS[name]
    root = world / "embeddings" if name == "prior" else world
    argv = [f"--data.root={root}", f"--out={out}", *trainer.options, *EVERY]
    if trainer.embeddings:
        argv.append(f"--data.embeddings={world / 'embeddings'}")
    argv.append(f"--data.batch_size={GLOBAL_BATCH // ranks}")
    strategies = [] if strategy == "ddp" and ranks == 1 else [f"--trainer.strategy={strategy}"]
    return [*argv, f"--trainer.devices={ranks}", *strategies]


def launch(module, world, out, ranks, *more, name="image", strategy="ddp"):
    """Train by the command, which starts the other ranks itself."""
    words = [*module.split(), *latest([*options(name, world, out, ranks, strategy), *more])]
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=ENVIRONMENT, timeout=600,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def trained(module, world, out, ranks, *more, name="image", strategy="ddp"):
    done = launch(module, world, out, ranks, *more, name=name, strategy=strategy)
    assert done.returncode == 0, done.stderr[-3000:]
    return read_checkpoint(out / "last.ckpt"), losses(out)


def forked(name, world, out, places, *more, strategy="fsdp2", arm=lambda rank: None):
    """Train as a launcher would start it, but with ranks forked from here, as imports are slow.

    Args:
        places: What the launcher tells each rank by its environment.
        arm: Called with the rank before it trains.

    Returns each rank's exit status, negative for a signal; what they wrote is in `out`.log.
    """
    argv = latest([*options(name, world, out, len(places), strategy), *more])
    children = []
    for rank, place in enumerate(places):
        child = os.fork()
        if not child:
            train_and_exit(name, argv, Path(f"{out}.log"), place, lambda rank=rank: arm(rank))
        children.append(child)
    limit = time.monotonic() + LIMIT
    return [exit_status(child, limit) for child in children]


def train_and_exit(name, argv, log, place, arm):
    """Run the command in a child that never returns."""
    code = 1
    try:
        sys.stdout = sys.stderr = log.open("a", buffering=1)
        os.dup2(sys.stderr.fileno(), 1)
        os.dup2(sys.stderr.fileno(), 2)
        os.environ.update({key: str(value) for key, value in place.items()})
        arm()
        train(TRAINERS[name].module, TRAINERS[name].data, argv)
        code = 0
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def exit_status(child, limit):
    """Wait for a child; one still there at the limit is ended, as ranks may wait forever."""
    done, status = os.waitpid(child, os.WNOHANG)
    while not done and time.monotonic() < limit:
        time.sleep(0.02)
        done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def torchrun(ranks):
    """Return the environments that torchrun makes on one node."""
    shared = {
        "TORCHELASTIC_RUN_ID": "forked", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
        "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "GROUP_RANK": 0,
    }  # fmt: skip
    return [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(ranks)]


def slurm(nodes):
    """Return the environments that srun makes on nodes with one task each."""
    shared = {
        "SLURM_JOB_ID": 4242, "SLURM_JOB_NAME": "unison", "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": nodes, "SLURM_NTASKS_PER_NODE": 1, "SLURM_NNODES": nodes,
        "SLURM_LOCALID": 0, "MASTER_PORT": free_port(),
    }  # fmt: skip
    return [shared | {"SLURM_PROCID": node, "SLURM_NODEID": node} for node in range(nodes)]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def trained_here(name, world, out, *more):
    """Train by the same options in this process, which saves the start of another."""
    trainer = TRAINERS[name]
    alike = (*EVERY, "--trainer.limit_val_batches=4", f"--data.batch_size={GLOBAL_BATCH}")
    trainer.run(world, out, *alike, *more)
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
    assert_same_losses(one, other)


def assert_same_losses(one, other, tolerance=1e-5):
    for row, again in zip(one[1], other[1], strict=True):
        assert again == pytest.approx(row, abs=tolerance)


def assert_same_moments(one, other):
    """Raise unless the optimisers' states agree.

    The moments are what gradients add up to; the updates made of them, of unit length, magnify the
    last bits of the smallest.
    """
    ours, theirs = (flat(run[0]["optimizer_states"][0]["state"]) for run in (one, other))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=5e-7, rtol=1e-4, msg=name)


def flat(state):
    """Return the moments of all parameters by name."""
    return {
        f"{name} of {parameter}": value
        for parameter, moments in state.items()
        for name, value in moments.items()
        if isinstance(value, torch.Tensor)
    }
