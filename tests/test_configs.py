"""Every configuration trains: two steps under the smoke overlay, by its own documented command."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from core.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*/*.yaml"))
COMMAND = re.compile(r"# python -m (\S+) --config (\S+)")
KINDS = {
    "multimodal.train": "alignment",
    "multimodal.train_prior": "prior",
    "audio.train_vocoder": "vocoder",
}
CONDITIONED = {"text.train", "image.train", "audio.train", "video.train"}
EMBEDDING = 8  # of the tiny world


def ids(path):
    return str(path.relative_to(ROOT / "configs"))


def header(path):
    found = COMMAND.match(path.read_text().splitlines()[0])
    assert found, f"{path} must open with its command"
    return found.groups()


@pytest.mark.parametrize("path", CONFIGS, ids=ids)
def test_a_configuration_opens_with_its_command(path):
    module, named = header(path)
    assert ROOT / named == path
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("path", CONFIGS, ids=ids)
def test_every_preset_for_cpu_cores_has_one_for_a_gpu_and_the_reverse(path):
    stem = path.stem
    other = stem.removesuffix("_gpu") if stem.endswith("_gpu") else f"{stem}_gpu"
    assert path.with_stem(other) in CONFIGS


def options(module, world):
    """Return what leads a command to the tiny world."""
    if module == "multimodal.train_prior":
        return [f"--data.root={world / 'embeddings'}", f"--model.embedding={EMBEDDING}"]
    more = [f"--data.embeddings={world / 'embeddings'}"] if module in CONDITIONED else []
    return [f"--data.root={world}", *more]


def precision(path):
    return yaml.safe_load(path.read_text())["trainer"].get("precision", "32-true")


@pytest.mark.parametrize("path", CONFIGS, ids=ids)
def test_a_configuration_runs_two_steps(path, tiny_world, tmp_path, monkeypatch):
    """In its own precision, so that what a GPU's preset asks for is known to fit together."""
    module, named = header(path)
    composed = ["--config", named, "--config", "configs/smoke.yaml"]
    argv = [*composed, *options(module, tiny_world), f"--out={tmp_path}"]
    if path.stem.endswith("_gpu") and module in CONDITIONED - {"text.train"}:
        argv.append("--model.model.net.depth=1")  # or the samples alone take minutes on a CPU
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [module, *argv, f"--trainer.precision={precision(path)}"])
    runpy.run_module(module, run_name="__main__")
    kind = KINDS.get(module, module.split(".")[0])
    assert read_checkpoint(tmp_path / "last.ckpt", kind)["global_step"] == 2
    assert "train/loss" in (tmp_path / "metrics.csv").read_text()
    assert any((tmp_path / "tensorboard").rglob("events*"))
    assert (tmp_path / "config.yaml").is_file()
