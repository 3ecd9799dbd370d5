"""Runs that torchrun or SLURM starts, on this machine: two processes stand for two nodes."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import image
from core.checkpoint import read_checkpoint
from tests.ranks import (
    ENVIRONMENT,
    ROOT,
    assert_alike,
    forked,
    free_port,
    losses,
    options,
    slurm,
    trained_here,
)

STEPS = "--trainer.max_steps=5"
TWO_NODES = ("--trainer.num_nodes=2", "--trainer.devices=1")
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """Five steps of image training in one process."""
    return trained_here("image", tiny_world, tmp_path_factory.mktemp("whole"), STEPS)


def left(out):
    return read_checkpoint(out / "last.ckpt"), losses(out)


def tell(rank, number):
    """Send one rank a signal in its third step."""
    step = image.ImageModule.training_step

    def told(self, batch, batch_idx):
        if self.global_step == 2:
            os.kill(os.getpid(), number)
        return step(self, batch, batch_idx)

    def arm(own):
        if own == rank:
            image.ImageModule.training_step = told

    return arm


@pytest.mark.parametrize(
    "strategy", ["fsdp2", pytest.param("ddp", marks=pytest.mark.slow)]
)
def test_slurms_signal_saves_the_job_which_its_script_puts_back(
    strategy, whole, tiny_world, tmp_path, monkeypatch
):
    """One of two nodes is told; Lightning's own answer, a checkpoint and scontrol, must not come."""
    called, run = tmp_path / "called", tmp_path / "run"
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $* >> {called}\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    codes = forked(
        "image", tiny_world, run, slurm(2), *TWO_NODES, STEPS,
        strategy=strategy, arm=tell(1, signal.SIGUSR1),
    )  # fmt: skip
    assert codes == [128 + signal.SIGUSR1] * 2
    assert "stopped by SIGUSR1 after step 3" in (tmp_path / "run.log").read_text()
    assert read_checkpoint(run / "last.ckpt")["global_step"] == 3
    resume = f"--resume={run / 'last.ckpt'}"
    codes = forked("image", tiny_world, run, slurm(2), *TWO_NODES, STEPS, resume, strategy=strategy)
    assert codes == [0, 0]
    assert_alike(whole, left(run))
    assert not called.exists()
    assert list(run.rglob("hpc_ckpt*")) == []


def run_torchrun(words, nodes):
    """Start one torchrun a node and wait for all."""
    node = "--master-addr 127.0.0.1 --master-port {} --node-rank {}"
    port, running = free_port(), []
    for rank in range(nodes):
        place = node.format(port, rank).split()
        command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", *place]
        running.append(subprocess.Popen([*command, *words], cwd=ROOT, env=ENVIRONMENT))
    return [process.wait(timeout=300) for process in running]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_trains_on_nodes_what_one_process_trains(
    nodes, strategy, whole, tiny_world, tmp_path
):
    each = 2 // nodes
    argv = [*options("image", tiny_world, tmp_path, 2, strategy), STEPS]
    argv += [f"--trainer.num_nodes={nodes}", f"--trainer.devices={each}"]
    words = [f"--nproc-per-node={each}", "-m", "image.train", *argv]
    assert run_torchrun(words, nodes) == [0] * nodes
    assert_alike(whole, left(tmp_path))
