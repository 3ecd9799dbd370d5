import contextlib
import random
import subprocess
import sys

import pytest
import torch

from core.checkpoint import (
    AtomicCheckpointIO,
    export,
    load_module,
    load_weights,
    read_checkpoint,
    show,
    verify,
)
from core.content_hash import content_hash
from core.optim import AdamW, Muon, OptimConfig, Schedule
from core.plain import from_plain, to_plain
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


def test_any_flipped_byte_of_a_weight_or_a_value_is_noticed(tmp_path):
    path = tmp_path / "last.ckpt"
    write(path)
    whole = path.read_bytes()
    places = random.Random(0).sample(range(len(whole)), 200)
    unnoticed = []
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):
            unnoticed.append(read_checkpoint(path, "image"))
    # What passes is the padding between records: its values are those that were written.
    path.write_bytes(whole)
    expected = content_hash(read_checkpoint(path, "image"))
    assert all(content_hash(found) == expected for found in unnoticed)
    assert len(unnoticed) < len(places) / 2


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"x": 1}, {"x": 1.0}),
        ({"x": [1, 2]}, {"x": [12]}),
        ({"x": ["a", "b"]}, {"x": ["ab"]}),
        ({"x": {"a": 1}, "y": {}}, {"x": {}, "y": {"a": 1}}),
        ({"x": torch.zeros(2, 3)}, {"x": torch.zeros(3, 2)}),
        ({"x": torch.zeros(2)}, {"x": torch.zeros(2, dtype=torch.int32)}),
        ({"x": torch.tensor(0.0)}, {"x": torch.tensor(-0.0)}),
    ],
)
def test_values_that_differ_have_other_hashes(a, b):
    assert content_hash(a) != content_hash(b)


def test_a_hash_is_of_values_whatever_their_layout_in_memory():
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    again = weights.T.contiguous().T
    assert content_hash({"x": weights}) == content_hash({"x": again, "sha256": "old"})


def test_a_checkpoint_without_a_hash_is_read(tmp_path, capsys):
    module = write(tmp_path / "new.ckpt")
    old = torch.load(tmp_path / "new.ckpt", weights_only=True)
    del old["sha256"]
    torch.save(old, tmp_path / "old.ckpt")
    loaded = load_module(tmp_path / "old.ckpt", ImageModule)
    assert torch.equal(loaded.state_dict()["net.read.weight"], module.net.read.weight)
    verify(tmp_path / "old.ckpt")
    assert "has no hash" in capsys.readouterr().out


def test_weights_of_another_model_are_named(tmp_path):
    write(tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    weights = checkpoint["state_dict"]
    name = "net.read.weight"
    weights[name], weights["extra"] = weights[name][:, :-1], weights.pop("net.read.bias")
    module = ImageModule(ImageConfig(size=8, patch=4, components=None))
    with pytest.raises(ValueError, match=r"net\.read\.bias is missing; extra is not known; net"):
        load_weights(module, checkpoint)


def test_a_disk_that_fills_up_keeps_the_old_checkpoint(tmp_path):
    """The limit on a file's size is the system's own, as a full disk's is."""
    path = tmp_path / "last.ckpt"
    write(path)
    before = path.read_bytes()
    code = (
        "import resource, signal, torch; from core.checkpoint import AtomicCheckpointIO;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000));"
        "from core.cli import guard;"
        "held = {'unison': {'kind': 'image', 'version': 1}, 'x': torch.zeros(9999)};"
        f"guard(lambda: AtomicCheckpointIO().save_checkpoint(held, {str(path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {path}: File too large; raise the limit")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_export_is_taken_as_a_checkpoint(tmp_path, capsys):
    module = write(tmp_path / "last.ckpt")
    export(tmp_path / "last.ckpt", tmp_path / "image.safetensors")
    assert "MiB" in capsys.readouterr().out
    loaded = load_module(tmp_path / "image.safetensors", ImageModule)
    for name, value in module.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    show(tmp_path / "image.safetensors")
    assert "agrees" in capsys.readouterr().out
    whole = bytearray((tmp_path / "image.safetensors").read_bytes())
    whole[-1] ^= 1
    (tmp_path / "image.safetensors").write_bytes(whole)
    with pytest.raises(ValueError, match="is damaged: its content has another hash"):
        load_module(tmp_path / "image.safetensors", ImageModule)


def test_an_export_has_the_averaged_weights_unless_raw_ones_are_wanted(tmp_path):
    write(tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    name = "net.read.weight"
    checkpoint["ema"] = {name: checkpoint["state_dict"][name] + 1}
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    for raw, key in ((False, "ema"), (True, "state_dict")):
        export(tmp_path / "last.ckpt", tmp_path / "x.safetensors", raw=raw)
        written = read_checkpoint(tmp_path / "x.safetensors")["state_dict"][name]
        assert torch.equal(written, checkpoint[key][name])


def test_verify_lists_every_checkpoint_of_a_folder_and_fails_for_one(tmp_path, capsys):
    write(tmp_path / "a" / "last.ckpt")
    write(tmp_path / "b" / "last.ckpt")
    verify(tmp_path)
    assert capsys.readouterr().out.count("image, whole") == 2
    (tmp_path / "b" / "last.ckpt").write_bytes(b"?")
    with pytest.raises(ValueError, match="1 of 2 checkpoints cannot be used"):
        verify(tmp_path)
    out = capsys.readouterr().out
    assert f"{tmp_path / 'a' / 'last.ckpt'}: image, whole" in out
    assert f"{tmp_path / 'b' / 'last.ckpt'} is damaged" in out
    with pytest.raises(ValueError, match="holds no checkpoint"):
        verify(tmp_path / "c")


def test_show_says_what_a_checkpoint_holds(tmp_path, capsys):
    write(tmp_path / "last.ckpt")
    show(tmp_path / "last.ckpt")
    shown = capsys.readouterr().out
    assert "image, layout 1" in shown
    assert "patch: 4" in shown
