"""Runs that torchrun or SLURM starts, on this machine: two processes stand for two nodes."""

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
import torch

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
from tests.training import latest

STEPS = "--trainer.max_steps=5"
TWO_NODES = ("--trainer.num_nodes=2", "--trainer.devices=1")
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """Five steps of image training in one process."""
    return trained_here("image", tiny_world, tmp_path_factory.mktemp("whole"), STEPS)


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """The file that a stand-in for scontrol writes when it is called."""
    called, program = tmp_path / "called", tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\necho $* >> {called}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return called


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


@pytest.mark.parametrize("strategy", ["fsdp2", pytest.param("ddp", marks=pytest.mark.slow)])
def test_slurms_signal_saves_the_job_which_its_script_puts_back(
    strategy, whole, tiny_world, tmp_path, scontrol
):
    """One of two nodes is told; the Trainer's own answer, by scontrol and a file, must not come."""
    run = tmp_path / "run"
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
    assert not scontrol.exists()
    assert list(run.rglob("hpc_ckpt*")) == []


def test_slurms_signal_before_the_first_step_leaves_nothing_and_calls_nobody(
    tiny_world, tmp_path, scontrol
):
    load = image.ImageData.train_dataloader

    def arm(own):
        def told(self):
            if own == 1 and torch.distributed.is_initialized():  # not where its length is asked
                os.kill(os.getpid(), signal.SIGUSR1)
            return load(self)

        image.ImageData.train_dataloader = told

    run = tmp_path / "run"
    codes = forked("image", tiny_world, run, slurm(2), *TWO_NODES, STEPS, arm=arm)
    assert codes == [2, -signal.SIGUSR1]
    assert not scontrol.exists()
    assert list(run.rglob("*.ckpt")) == []


def run_torchrun(words, nodes):
    """Start one torchrun a node and wait for all."""
    node = "--master-addr 127.0.0.1 --master-port {} --node-rank {}"
    port, running = free_port(), []
    for rank in range(nodes):
        place = node.format(port, rank).split()
        command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", *place]
        running.append(subprocess.Popen([*command, *words], cwd=ROOT, env=ENVIRONMENT))
    return [process.wait(timeout=600) for process in running]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_trains_on_nodes_what_one_process_trains(
    nodes, strategy, whole, tiny_world, tmp_path
):
    each = 2 // nodes
    argv = [*options("image", tiny_world, tmp_path, 2, strategy), STEPS]
    argv += [f"--trainer.num_nodes={nodes}", f"--trainer.devices={each}"]
    words = [f"--nproc-per-node={each}", "-m", "image.train", *latest(argv)]
    assert run_torchrun(words, nodes) == [0] * nodes
    assert_alike(whole, left(tmp_path))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with stand-ins for python, srun and scontrol, which note their words."""
    for name, code in (("python", 0), ("srun", "${CODE:-0}"), ("scontrol", 0)):
        program = tmp_path / name
        program.write_text(f'#!/bin/bash\nprintf "%q " "$@" > {tmp_path}/{name}.txt\nexit {code}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "8")
    return tmp_path


def shown(script):
    """Return the command lines of a script that the page and the script itself show."""
    page, own = ((DOCS / name).read_text() for name in ("cluster.md", script))
    own = re.sub(r"^# *", "", own, flags=re.MULTILINE)
    text = (page + own).replace("\\\n", " ")
    return re.findall(rf"^(.*?)docs/{re.escape(script)} (\w+\.train .*)$", text, re.MULTILINE)


def start(script, words, desk, **environment):
    command = ["bash", str(DOCS / script), *words]
    return subprocess.run(
        command, cwd=desk, env=os.environ | environment, check=False, capture_output=True, text=True
    )


def understood(words, monkeypatch):
    """Parse the options of a training command as it would."""
    from core import train_cli

    for step in ("before_instantiate_classes", "instantiate_classes", "fit_run"):
        monkeypatch.setattr(train_cli.TrainCLI, step, lambda self: None)
    monkeypatch.chdir(ROOT)
    assert words[0] == "image.train"
    return train_cli.TrainCLI(image.ImageModule, image.ImageData, words[1:]).config


@pytest.mark.parametrize("name", ["train.sbatch", "torchrun.sh"])
def test_a_script_is_shell_that_can_be_read(name):
    assert subprocess.run(["bash", "-n", DOCS / name], check=False).returncode == 0


@pytest.mark.parametrize("line", [words for _, words in shown("train.sbatch")])
def test_a_shown_job_is_a_run_on_all_its_nodes(line, desk, monkeypatch):
    assert start("train.sbatch", shlex.split(line), desk).returncode == 0
    words = shlex.split((desk / "srun.txt").read_text())
    config = understood(words[words.index("-m") + 1 :], monkeypatch)
    assert (config.trainer.num_nodes, int(config.trainer.devices)) == (2, 8)
    assert config.out == "runs/image"
    assert config.resume is None


@pytest.mark.parametrize(("before", "line"), shown("torchrun.sh"))
def test_a_shown_torchrun_is_a_run_on_all_its_nodes(before, line, desk, monkeypatch):
    told = dict(word.split("=") for word in shlex.split(before))
    assert start("torchrun.sh", shlex.split(line), desk, **told).returncode == 0
    words = shlex.split((desk / "python.txt").read_text())
    assert words[: words.index("--rdzv-id")] == [
        "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "8",
    ]  # fmt: skip
    config = understood(words[words.index("-m", 1) + 1 :], monkeypatch)
    assert (config.trainer.num_nodes, int(config.trainer.devices)) == (2, 8)


@pytest.mark.parametrize("option", [["--out", "runs/a"], ["--out=runs/a"]])
def test_a_job_goes_on_from_its_checkpoint_and_is_put_back_when_its_time_was_over(option, desk):
    (desk / "runs" / "a" / "last.ckpt").mkdir(parents=True)
    done = start("train.sbatch", ["image.train", *option], desk, CODE="138")
    assert done.returncode == 138
    assert "--resume runs/a/last.ckpt" in (desk / "srun.txt").read_text()
    assert (desk / "scontrol.txt").read_text().split() == ["requeue", "4242"]


@pytest.mark.parametrize("code", [0, 1, 2, 143])
def test_a_job_that_ended_otherwise_is_not_put_back(code, desk):
    done = start("train.sbatch", ["image.train", "--out", "runs/a"], desk, CODE=str(code))
    assert done.returncode == code
    assert not (desk / "scontrol.txt").exists()


def test_a_job_without_a_folder_is_refused(desk):
    done = start("train.sbatch", ["image.train"], desk)
    assert (done.returncode, done.stderr) == (
        2,
        "error: the run has no folder to go on in; name it with --out FOLDER\n",
    )


@pytest.mark.slow
def test_the_torchrun_script_trains(whole, tiny_world, tmp_path, monkeypatch):
    for name, value in (ENVIRONMENT | {"GPUS": "2", "PYTHON": sys.executable}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEAD", f"127.0.0.1:{free_port()}")
    words = ["image.train", *options("image", tiny_world, tmp_path, 2, "fsdp2"), STEPS]
    done = start("torchrun.sh", words, ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_alike(whole, left(tmp_path))
