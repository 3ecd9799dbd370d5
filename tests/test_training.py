"""What holds for every trainer: it resumes bitwise, overfits, and says clearly what it refuses."""

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
    trainer.run(tiny_world, whole, "--trainer.max_steps=8")
    total = "--model.optim.schedule.decay=0"  # the schedule must not depend on where we stop
    trainer.run(tiny_world, whole, "--trainer.max_steps=8", total)
    trainer.run(tiny_world, broken, "--trainer.max_steps=3", total)
    last = f"--resume={broken / 'last.ckpt'}"
    trainer.run(tiny_world, broken, "--trainer.max_steps=7", total, last)
    trainer.run(tiny_world, broken, "--trainer.max_steps=8", total, last)
    ours, theirs = read(broken), read(whole)
    for part in ("state_dict", "ema", "optimizer_states", "global_step"):
        assert_same(ours[part], theirs[part], part)


def test_a_checkpoint_rebuilds_its_module_alone(trainer, tiny_world, tmp_path):
    trainer.run(tiny_world, tmp_path, "--trainer.max_steps=2")
    module, raw = load_module(tmp_path / "last.ckpt", trainer.module), read(tmp_path)
    assert not module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, raw["ema"].get(name, raw["state_dict"][name])), name
    assert raw["unison"]["kind"] == trainer.name
    assert raw["unison"]["commit"]


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
