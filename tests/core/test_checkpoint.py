import pytest
import torch

from core.checkpoint import AtomicCheckpointIO, from_plain, load_module, read_checkpoint, to_plain
from core.optim import AdamW, Muon, OptimConfig, Schedule
from image import ImageConfig, ImageModule


@pytest.mark.parametrize("rule", [AdamW(lr=1e-3), Muon(matrix_lr=0.01, other=AdamW(lr=5e-4))])
def test_a_configuration_survives_the_way_through_plain_values(rule):
    config = OptimConfig(rule=rule, schedule=Schedule(warmup=0.1))
    assert from_plain(OptimConfig, to_plain(config)) == config


def write(path, **changes):
    module = ImageModule(ImageConfig(size=8, patch=4, components=None))
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    checkpoint["unison"] |= changes
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return module


def test_a_module_made_in_python_is_rebuilt(tmp_path):
    module = write(tmp_path / "last.ckpt")
    loaded = load_module(tmp_path / "last.ckpt", ImageModule)
    for name, value in module.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path):
    path = tmp_path / "last.ckpt"
    with pytest.raises(ValueError, match=r"is not there; train one with: python -m image\.train"):
        read_checkpoint(path, "image")
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(path, "image")
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not written by Unison"):
        read_checkpoint(path, "image")
    write(path, version=99)
    with pytest.raises(ValueError, match="version 99, this code reads 1"):
        read_checkpoint(path, "image")
    write(path, kind="video")
    with pytest.raises(ValueError, match="holds a video model but a image model is needed"):
        read_checkpoint(path, "image")


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_a_malicious_pickle_is_not_executed(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"unison": {"kind": "image", "version": 1}, "state_dict": Bomb()}, path)
    with pytest.raises(ValueError, match="cannot be read safely"):
        read_checkpoint(path, "image")


def test_a_truncated_checkpoint_is_named(tmp_path):
    path = tmp_path / "last.ckpt"
    write(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        read_checkpoint(path, "image")


def test_a_failing_save_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    write(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
