"""What holds for every trainer: it resumes bitwise, overfits, and says clearly what it refuses."""

import multiprocessing

import pytest
import torch

from core.checkpoint import load_module
from tests.training import TRAINERS, assert_same


@pytest.fixture(params=TRAINERS)
def trainer(request):
    return TRAINERS[request.param]


def read(path):
    return torch.load(path / "last.ckpt", weights_only=True)


def test_a_run_resumed_in_mid_epoch_equals_one_without_a_break(trainer, tiny_world, tmp_path):
    """Eight steps of six an epoch, against eight with a stop after the third and the seventh."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    total = "--model.optim.schedule.decay=0"  # the schedule must not depend on where we stop
    trainer.run(tiny_world, whole, "--trainer.max_steps=8", total)
    trainer.run(tiny_world, broken, "--trainer.max_steps=3", total)
    last = f"--resume={broken / 'last.ckpt'}"
    trainer.run(tiny_world, broken, "--trainer.max_steps=7", total, last)
    trainer.run(tiny_world, broken, "--trainer.max_steps=8", total, last)
    ours, theirs = read(broken), read(whole)
    for part in ("state_dict", "ema", "optimizer_states", "global_step"):
        assert_same(ours[part], theirs[part], part)


def assert_interrupted_equals_whole(trainer, world, tmp_path, *options):
    """Five steps in one go, against a stop after the second and another after the fourth."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = (*options, "--model.optim.schedule.decay=0", "--trainer.log_every_n_steps=1")
    trainer.run(world, whole, *options, "--trainer.max_steps=5")
    last = f"--resume={broken / 'last.ckpt'}"
    trainer.run(world, broken, *options, "--trainer.max_steps=2")
    trainer.run(world, broken, *options, "--trainer.max_steps=4", last)
    trainer.run(world, broken, *options, "--trainer.max_steps=5", last)
    ours, theirs = read(broken), read(whole)
    data = next(key for key in theirs if key.endswith("Data"))
    for part in ("state_dict", "ema", "optimizer_states", "lr_schedulers", "global_step", data):
        assert_same(ours[part], theirs[part], part)
    assert (broken / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


VARIATIONS = {
    "accumulation": ("--trainer.accumulate_grad_batches=2",),
    "two workers": ("--data.workers=2",),
    "two workers and accumulation": ("--data.workers=2", "--trainer.accumulate_grad_batches=2"),
}


@pytest.mark.parametrize("variation", VARIATIONS)
def test_the_image_trainer_resumes_bitwise_under(variation, tiny_world, tmp_path):
    assert_interrupted_equals_whole(TRAINERS["image"], tiny_world, tmp_path, *VARIATIONS[variation])


def test_workers_that_are_spawned_give_what_forked_ones_give(tiny_world, tmp_path, monkeypatch):
    options = ("--trainer.max_steps=3", "--data.workers=1")
    TRAINERS["image"].run(tiny_world, tmp_path / "fork", *options)
    monkeypatch.setattr(multiprocessing.context._default_context, "_actual_context",
                        multiprocessing.get_context("spawn"))  # fmt: skip
    TRAINERS["image"].run(tiny_world, tmp_path / "spawn", *options)
    spawned, forked = read(tmp_path / "spawn"), read(tmp_path / "fork")
    assert_same(spawned["state_dict"], forked["state_dict"])


@pytest.mark.slow
@pytest.mark.parametrize("variation", VARIATIONS)
def test_every_trainer_resumes_bitwise_under(variation, trainer, tiny_world, tmp_path):
    assert_interrupted_equals_whole(trainer, tiny_world, tmp_path, *VARIATIONS[variation])


def test_a_checkpoint_rebuilds_its_module_alone(trainer, tiny_world, tmp_path):
    trainer.run(tiny_world, tmp_path, "--trainer.max_steps=2")
    module, raw = load_module(tmp_path / "last.ckpt", trainer.module), read(tmp_path)
    assert not module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, raw["ema"].get(name, raw["state_dict"][name])), name
    assert raw["unison"]["kind"] == trainer.name
    assert raw["unison"]["commit"]


def test_a_run_starts_from_the_weights_of_another(trainer, tiny_world, tmp_path):
    trainer.run(tiny_world, tmp_path / "base", "--trainer.max_steps=3")
    still = ("--model.optim.rule=core.optim.AdamW", "--model.optim.rule.lr=0")
    start = f"--init={tmp_path / 'base' / 'last.ckpt'}"
    trainer.run(tiny_world, tmp_path / "next", "--trainer.max_steps=1", *still, start)
    base, new = read(tmp_path / "base"), read(tmp_path / "next")
    assert set(new["ema"]) == set(base["ema"]) != set()
    for name in base["ema"]:
        assert torch.equal(new["state_dict"][name], base["ema"][name]), name
    assert new["global_step"] == 1


def test_a_checkpoint_of_another_kind_is_refused_in_one_line(trainer, tiny_world, tmp_path, capsys):
    torch.save({"unison": {"kind": "poem", "version": 1}}, tmp_path / "last.ckpt")
    with pytest.raises(SystemExit) as stop:
        trainer.run(
            tiny_world,
            tmp_path / "new",
            "--trainer.max_steps=2",
            f"--resume={tmp_path / 'last.ckpt'}",
        )
    assert stop.value.code == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert error == [
        f"error: {tmp_path / 'last.ckpt'} holds a poem model but a {trainer.name} model is needed"
    ]
