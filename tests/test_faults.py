"""What may befall a run: signals, gradients that are no numbers, lost data, full disks."""

import os
import shutil
import signal
import time

import psutil
import pytest
import torch

import image
from core.checkpoint import read_checkpoint
from core.preemption import ONE_PRESS, SIGNALS
from tests.training import assert_same, small_image


class NotANumber(image.ImageModule):
    """Image training whose third step has no finite loss."""

    broken = (2,)

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss * float("nan") if self.global_step in self.broken else loss


class Told(image.ImageModule):
    """Image training that is sent a signal in its third step."""

    number = signal.SIGTERM

    def training_step(self, batch, batch_idx):
        if self.global_step == 2 and not getattr(self, "told", False):
            self.told = True
            os.kill(os.getpid(), self.number)
        return super().training_step(batch, batch_idx)


def errors(capsys):
    return [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_the_run_which_goes_on_as_if_nothing_had_been(
    tiny_world, tmp_path, monkeypatch, capsys, number
):
    monkeypatch.setattr(Told, "number", number)
    handlers = [signal.getsignal(n) for n in SIGNALS]
    whole, told = tmp_path / "whole", tmp_path / "told"
    options = ["--trainer.max_steps=5", "--trainer.accumulate_grad_batches=2"]
    small_image(tiny_world, whole, *options)
    with pytest.raises(SystemExit) as stop:
        small_image(tiny_world, told, *options, module=Told)
    assert stop.value.code == 128 + number
    shown = capsys.readouterr().out
    assert f"stopped by {number.name} after step 3; go on with --resume {told}/last.ckpt" in shown
    assert [signal.getsignal(n) for n in SIGNALS] == handlers
    assert read_checkpoint(told / "last.ckpt")["global_step"] == 3
    small_image(tiny_world, told, *options, f"--resume={told / 'last.ckpt'}")
    ours, theirs = (read_checkpoint(path / "last.ckpt") for path in (told, whole))
    for part in ("state_dict", "ema", "optimizer_states", "global_step"):
        assert_same(ours[part], theirs[part], part)


class Impatient(image.ImageModule):
    """Image training in whose third step Ctrl-C is pressed twice."""

    def training_step(self, batch, batch_idx):
        if self.global_step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            pressed = time.monotonic()
            while time.monotonic() - pressed <= ONE_PRESS:  # sooner it would be the same press
                time.sleep(ONE_PRESS / 10)
            os.kill(os.getpid(), signal.SIGINT)
        return super().training_step(batch, batch_idx)


def test_a_second_ctrl_c_leaves_at_once_and_keeps_what_was_saved(tiny_world, tmp_path, capfd):
    options = ["--trainer.max_steps=5", "--model.optim.schedule.decay=0", "--save_every=1"]
    with pytest.raises(SystemExit) as stop:
        small_image(tiny_world, tmp_path, *options, module=Impatient)
    assert stop.value.code == 130
    told = [line for line in capfd.readouterr().err.splitlines() if line]
    assert told[-2:] == [
        "stopping: the run is saved after this step; Ctrl-C again leaves at once",
        f"interrupted after step 2 without saving; go on with --resume {tmp_path}/last.ckpt",
    ]
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
    assert not list(tmp_path.glob(".*"))


def test_ctrl_c_before_the_first_step_is_one_line(tiny_world, tmp_path, capfd):
    class Slow(image.ImageModule):
        def on_fit_start(self):
            os.kill(os.getpid(), signal.SIGINT)
            super().on_fit_start()

    with pytest.raises(SystemExit) as stop:
        small_image(tiny_world, tmp_path / "run", "--trainer.max_steps=5", module=Slow)
    assert stop.value.code == 130
    assert "interrupted before the first step" in capfd.readouterr().err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_workers_go_on_when_ctrl_c_reaches_them_too(tiny_world, tmp_path, monkeypatch, capsys):
    class Everyone(Told):
        def training_step(self, batch, batch_idx):
            if self.global_step == 2 and not getattr(self, "told", False):
                for child in psutil.Process().children():
                    child.send_signal(signal.SIGINT)
            return super().training_step(batch, batch_idx)

    monkeypatch.setattr(Told, "number", signal.SIGINT)
    options = ["--trainer.max_steps=9", "--data.workers=2", "--save_every=1"]
    with pytest.raises(SystemExit) as stop:
        small_image(tiny_world, tmp_path, *options, module=Everyone)
    assert stop.value.code == 130
    assert f"go on with --resume {tmp_path}/last.ckpt" in capsys.readouterr().out
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3


def test_a_gradient_that_is_no_number_stops_the_run_before_it_reaches_the_weights(
    tiny_world, tmp_path, capsys
):
    with pytest.raises(SystemExit) as stop:
        small_image(tiny_world, tmp_path, "--trainer.max_steps=5", module=NotANumber)
    assert stop.value.code == 2
    (line,) = errors(capsys)
    assert line.startswith("error: the gradient of step 2 is not finite; checkpoints are as they")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint["global_step"] == 2
    assert all(w.isfinite().all() for w in checkpoint["state_dict"].values())


def test_batches_without_a_finite_gradient_may_be_left_out_and_are_counted(tiny_world, tmp_path):
    small_image(
        tiny_world, tmp_path, "--trainer.max_steps=5", "--model.optim.not_finite=skip",
        "--trainer.log_every_n_steps=1", module=NotANumber,
    )  # fmt: skip
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint["skipped"] == 1
    assert all(w.isfinite().all() for w in checkpoint["state_dict"].values())
    assert "train/skipped" in (tmp_path / "metrics.csv").read_text()


def test_a_left_out_batch_leaves_the_weights_and_the_moments_as_they_are(tiny_world, tmp_path):
    skip = "--model.optim.not_finite=skip"
    small_image(tiny_world, tmp_path / "a", "--trainer.max_steps=2", skip, module=NotANumber)
    small_image(tiny_world, tmp_path / "b", "--trainer.max_steps=3", skip, module=NotANumber)
    two, three = (read_checkpoint(tmp_path / name / "last.ckpt") for name in "ab")
    assert_same(two["state_dict"], three["state_dict"])
    assert_same(two["optimizer_states"][0]["state"], three["optimizer_states"][0]["state"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_that_goes_away_ends_the_run_in_one_line(
    tiny_world, tmp_path, monkeypatch, capsys, workers
):
    world, away = tmp_path / "world", tmp_path / "away"
    shutil.copytree(tiny_world, world)

    def vanish(self, batch, batch_idx):
        if self.global_step == 2 and world.exists():
            world.rename(away)
        return image.ImageModule.training_step(self, batch, batch_idx)

    module = type("Vanishing", (image.ImageModule,), {"training_step": vanish})
    out = tmp_path / "run"
    options = ["--trainer.max_steps=9", "--data.cache=false", f"--data.workers={workers}"]
    with pytest.raises(SystemExit) as stop:
        small_image(world, out, *options, "--data.on_error=skip", module=module)
    assert stop.value.code == 2
    (line,) = errors(capsys)
    assert "can no longer be read (No such file or directory); bring the dataset back" in line
    saved = read_checkpoint(out / "last.ckpt")["global_step"]
    away.rename(world)
    small_image(world, out, *options, f"--resume={out / 'last.ckpt'}")
    small_image(world, tmp_path / "whole", *options)
    assert 0 < saved < 9
    ours, theirs = (read_checkpoint(p / "last.ckpt") for p in (out, tmp_path / "whole"))
    assert_same(ours["state_dict"], theirs["state_dict"])


def test_a_disk_that_fills_up_ends_the_run_in_one_line_and_keeps_the_checkpoint(
    tiny_world, tmp_path, monkeypatch, capsys
):
    write = torch.save

    def full(checkpoint, file):
        if checkpoint.get("global_step", 0) == 3:
            raise OSError(28, "No space left on device", "last.ckpt")
        write(checkpoint, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SystemExit) as stop:
        small_image(tiny_world, tmp_path, "--trainer.max_steps=5")
    assert stop.value.code == 2
    (line,) = errors(capsys)
    assert (
        line
        == "error: last.ckpt: No space left on device; free some space, or choose another --out"
    )
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
    assert not list(tmp_path.glob(".*"))


def test_the_last_checkpoints_and_the_best_are_kept(tiny_world, tmp_path):
    options = ["--trainer.max_steps=5", "--keep=2", "--trainer.val_check_interval=2"]
    small_image(tiny_world, tmp_path, *options)
    kept = sorted(path.name for path in (tmp_path / "steps").iterdir())
    assert kept == ["00000004.ckpt", "00000005.ckpt"]
    steps = [read_checkpoint(tmp_path / "steps" / name)["global_step"] for name in kept]
    assert steps == [4, 5]
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("val/loss")
    step = rows[0].split(",").index("step")
    losses = {
        int(r.split(",")[step]): float(r.split(",")[column])
        for r in rows[1:]
        if r.split(",")[column]
    }
    best = read_checkpoint(tmp_path / "best.ckpt")
    assert best["global_step"] - 1 == min(losses, key=losses.__getitem__)
    assert best["callbacks"]["Saver"]["best"] == pytest.approx(min(losses.values()))


def test_a_run_resumed_from_its_best_checkpoint_is_the_same_run(tiny_world, tmp_path):
    options = ["--trainer.max_steps=5", "--trainer.val_check_interval=2"]
    small_image(tiny_world, tmp_path / "whole", *options)
    best = tmp_path / "whole" / "best.ckpt"
    small_image(tiny_world, tmp_path / "again", *options, f"--resume={best}")
    ours, theirs = (read_checkpoint(tmp_path / n / "last.ckpt") for n in ("again", "whole"))
    for part in ("state_dict", "ema", "optimizer_states"):
        assert_same(ours[part], theirs[part], part)


def test_what_a_killed_run_was_writing_is_removed_by_the_next(tiny_world, tmp_path):
    tmp_path.joinpath(".last.123.partial.ckpt").write_bytes(b"half")
    small_image(tiny_world, tmp_path, "--trainer.max_steps=1")
    assert not list(tmp_path.glob(".*"))


def test_weights_of_another_size_are_refused_in_one_line(tiny_world, tmp_path, capsys):
    small_image(tiny_world, tmp_path, "--trainer.max_steps=1")
    resume = f"--resume={tmp_path / 'last.ckpt'}"
    with pytest.raises(SystemExit):
        small_image(tiny_world, tmp_path / "b", "--trainer.max_steps=2", resume,
                    "--model.model.net.depth=2")  # fmt: skip
    (line,) = errors(capsys)
    assert "the checkpoint's weights do not fit this model: net.blocks.1" in line
