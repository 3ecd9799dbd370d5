"""A run's folder: moved, taken twice, taken twice at once, and left alone by what is refused."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from core.checkpoint import read_checkpoint
from core.errors import UserError
from core.run_folder import LOCK, check_vacant, locked
from tests.test_faults import errors
from tests.training import assert_same, small_image

ROOT = Path(__file__).parents[1]
STEPS = "--trainer.max_steps={}"


@pytest.fixture(scope="module")
def run(tiny_world, tmp_path_factory):
    """The folder of two steps of image training."""
    out = tmp_path_factory.mktemp("runs") / "run"
    small_image(tiny_world, out, STEPS.format(2), "--keep=1", "--trainer.val_check_interval=2")
    return out


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "moved"))


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(capsys, world, out, *options) -> str:
    with pytest.raises(SystemExit) as stop:
        small_image(world, out, *options)
    assert stop.value.code == 2
    (line,) = errors(capsys)
    return line


def test_a_run_that_was_moved_goes_on_where_it_is(copy, run, tiny_world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(run) not in (copy / "config.yaml").read_text()
    from core.train_cli import train
    from image import ImageData, ImageModule

    before = content(run)
    shape = [f"--config={copy / 'config.yaml'}", f"--resume={copy / 'last.ckpt'}"]
    train(ImageModule, ImageData, [*shape, STEPS.format(4)])
    assert read_checkpoint(copy / "last.ckpt")["global_step"] == 4
    assert content(run) == before
    small_image(tiny_world, tmp_path / "whole", STEPS.format(4), "--trainer.val_check_interval=2")
    ours, theirs = (read_checkpoint(p / "last.ckpt") for p in (copy, tmp_path / "whole"))
    assert_same(ours["state_dict"], theirs["state_dict"])
    rows = [(p / "metrics.csv").read_text() for p in (copy, tmp_path / "whole")]
    assert rows[0] == rows[1]


def test_a_run_goes_on_from_one_of_its_past_checkpoints_in_its_own_folder(copy, tiny_world):
    past = next((copy / "steps").glob("*.ckpt"))
    small_image(tiny_world, copy, STEPS.format(3), f"--resume={past}")
    assert read_checkpoint(copy / "last.ckpt")["global_step"] == 3


@pytest.mark.parametrize("more", ["", "--resume={other}/last.ckpt"])
def test_a_command_given_twice_does_not_take_the_place_of_its_first_run(
    more, copy, run, tiny_world, capsys
):
    before = content(copy)
    options = [more.format(other=run)] if more else []
    line = refused(capsys, tiny_world, copy, STEPS.format(2), *options)
    assert line == (
        f"error: {copy} holds a run already (last.ckpt), which would be lost; go on with it by"
        f" --resume {copy}/last.ckpt, or choose another --out"
    )
    assert content(copy) == before


def test_a_folder_without_a_checkpoint_may_be_taken(tmp_path):
    (tmp_path / "metrics.csv").write_text("step\n")
    (tmp_path / "config.yaml").write_text("{}")
    check_vacant(tmp_path, None)
    (tmp_path / "best.ckpt").write_bytes(b"x")
    with pytest.raises(UserError, match=r"best\.ckpt"):
        check_vacant(tmp_path, None)
    check_vacant(tmp_path, str(tmp_path / "best.ckpt"))
    check_vacant(tmp_path, str(tmp_path / "steps" / "00000002.ckpt"))


def test_a_finished_run_that_is_resumed_says_so_and_stays_as_it_is(copy, tiny_world, capsys):
    before = content(copy)
    small_image(tiny_world, copy, STEPS.format(2), f"--resume={copy / 'last.ckpt'}")
    assert "is at step 2 and --trainer.max_steps is 2: nothing to do" in capsys.readouterr().out
    assert content(copy) == before


REFUSALS = {
    "another optimiser": ("--model.optim.rule=core.optim.Muon", "trained by AdamW"),
    "another size": ("--model.model.net.depth=2", "weights do not fit"),
    "another order": ("--data.batch_size=8", "checkpoint's global_batch is 4"),
    "another seed": ("--seed_everything=7", "checkpoint's seed is 0"),
    "a dataset that is not there": ("--data.root=nowhere", "nowhere"),
    "no GPU": ("--trainer.accelerator=gpu", "no GPU"),
    "half weights": ("--trainer.precision=bf16-true", "must be float32"),
    "no such checkpoint": ("--resume=nowhere.ckpt", "nowhere.ckpt"),
    "an option that is not there": ("--model.net.width=8", "model.net.width"),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_resume_that_is_refused_changes_nothing(reason, copy, tiny_world, capsys):
    option, told = REFUSALS[reason]
    before = content(copy)
    resume = f"--resume={copy / 'last.ckpt'}"
    line = refused(capsys, tiny_world, copy, STEPS.format(4), resume, option)
    assert told in line
    assert content(copy) == before


IMPOSSIBLE = {
    "--trainer.accelerator=gpu": "--trainer.accelerator=cpu",
    "--trainer.accelerator=quantum": "accelerator",
    "--trainer.devices=0": "devices",
    "--trainer.strategy=nonsense": "strategy",
    "--trainer.precision=bf16-true": "choose one of 32-true, bf16-mixed, 16-mixed",
    "--trainer.precision=16-true": "choose one of 32-true, bf16-mixed, 16-mixed",
    "--trainer.precision=64-true": "choose one of 32-true, bf16-mixed, 16-mixed",
    "--trainer.precision=transformer-engine": "choose one of 32-true, bf16-mixed, 16-mixed",
    "--trainer.precision=16-mixed": "which needs a GPU",
    "--trainer.limit_val_batches=1.5": "limit_val_batches",
    "--trainer.gradient_clip_algorithm=sideways": "gradient_clip_algorithm",
    "--trainer.max_steps=-1": "max_steps",
    "--trainer.check_val_every_n_epoch=1": "val_check_interval",
}


@pytest.mark.parametrize("option", IMPOSSIBLE)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_no_folder(
    option, tiny_world, tmp_path, capsys
):
    options = [STEPS.format(4), "--trainer.val_check_interval=50", option]
    line = refused(capsys, tiny_world, tmp_path / "run", *options)
    assert IMPOSSIBLE[option] in line
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_run_without_a_folder_is_refused(tiny_world, capsys):
    from core.train_cli import train
    from image import ImageData, ImageModule

    with pytest.raises(SystemExit):
        train(ImageModule, ImageData, [f"--data.root={tiny_world}"])
    assert errors(capsys) == ["error: --out is missing; name a new folder for the run"]


HOLD = """
import sys
from pathlib import Path
from core.run_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen:
    """Start a process that holds a folder, and wait until it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_at_once_in_a_folder_is_refused_and_a_killed_one_does_not_block(
    copy, tiny_world, capsys
):
    first, before = holder(copy), content(copy)
    try:
        options = (STEPS.format(3), f"--resume={copy / 'last.ckpt'}")
        line = refused(capsys, tiny_world, copy, *options)
        assert line.startswith(
            f"error: {copy} is being trained into by another process (process {first.pid} on "
        )
        assert content(copy) == before
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert (copy / LOCK).exists(), "it had no time to take its lock away"
    small_image(tiny_world, copy, *options)
    assert read_checkpoint(copy / "last.ckpt")["global_step"] == 3
    assert not (copy / LOCK).exists()


def test_a_lock_ends_with_the_process_though_its_forks_live_on(tmp_path):
    """Workers that outlive a killed run for some seconds must not keep its folder."""
    ready, gate = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with locked(tmp_path):
            if not os.fork():
                os.close(gate[1])
                os.read(gate[0], 1)  # until the test ends
                os._exit(0)
            os.write(ready[1], b"x")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.read(ready[0], 1) == b"x"
    os.waitpid(child, 0)
    with locked(tmp_path):
        pass
    os.close(gate[1])
    for end in (*ready, gate[0]):
        os.close(end)


def test_a_folder_that_is_locked_and_left_is_as_if_nothing_had_been(tmp_path):
    with locked(tmp_path / "new"):
        assert (tmp_path / "new" / LOCK).read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / "new").exists()


def test_the_written_configuration_names_no_folder(run):
    held = yaml.safe_load((run / "config.yaml").read_text())
    assert not {"out", "resume", "init"} & held.keys()
