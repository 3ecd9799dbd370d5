"""Every configuration trains: two steps under the smoke overlay, by its own documented command."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from core.checkpoint import read_checkpoint
from core.sweep.space import combinations, read_space, to_yaml
from core.train_cli import TrainCLI
from text.conversations import conversations
from text.tokenizer import TextTokenizer

ROOT = Path(__file__).resolve().parents[1]
SPACES = sorted((ROOT / "configs" / "spaces").glob("*.yaml"))
CONFIGS = sorted(set((ROOT / "configs").glob("*/*.yaml")) - set(SPACES))
COMMAND = re.compile(r"# python -m (\S+) --config (\S+)")
SWEEP = re.compile(r"# python -m core.sweep --trainer (\S+) --config (\S+) --space (\S+)")
KINDS = {
    "multimodal.train": "alignment",
    "multimodal.train_prior": "prior",
    "audio.train_vocoder": "vocoder",
}
CONDITIONED = {"text.train", "image.train", "audio.train", "video.train"}
EMBEDDING = 8  # of the tiny world
GPU_ONLY = {"corpus_124m_gpu"}


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
    stem = path.stem.removesuffix("_gpu").removesuffix("_cpu")
    ours = {path.with_stem(f"{stem}{end}") for end in ("", "_cpu", "_gpu")} & set(CONFIGS)
    assert len(ours) == 2 or path.stem in GPU_ONLY


@pytest.fixture(scope="session")
def chats(tmp_path_factory):
    """Return a folder of conversations as rows of tokens."""
    folder = tmp_path_factory.mktemp("chats")
    turns = [[{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}]
             for n in range(60)]  # fmt: skip
    (folder / "chats.jsonl").write_text("\n".join(json.dumps({"messages": t}) for t in turns))
    codec = TextTokenizer.train([], kind="byte", chat=True)
    (folder / "tokenizer.json").write_text(codec.json)
    conversations(folder / "chats.jsonl", f"{folder}/tokenizer.json", folder / "rows", context=20)
    return folder / "rows"


def options(module, world, path, tokens, chats):
    """Return what leads a command to the tiny world, a stream of tokens, or conversations."""
    if module == "text.tune":
        return [f"--data.root={chats}"]
    if module == "text.train" and not path.stem.startswith("world"):
        compiles = "compile" in yaml.safe_load(path.read_text())["model"]
        return [f"--data.root={tokens}", *(["--model.compile=false"] if compiles else [])]
    if module == "multimodal.train_prior":
        return [f"--data.root={world / 'embeddings'}", f"--model.embedding={EMBEDDING}"]
    more = [f"--data.embeddings={world / 'embeddings'}"] if module in CONDITIONED else []
    return [f"--data.root={world}", *more]


def precision(path):
    return yaml.safe_load(path.read_text())["trainer"].get("precision", "32-true")


@pytest.mark.parametrize("path", CONFIGS, ids=ids)
def test_a_configuration_runs_two_steps(
    path, tiny_world, token_shards, chats, tmp_path, monkeypatch
):
    """In its own precision, so that what a GPU's preset asks for is known to fit together."""
    module, named = header(path)
    composed = ["--config", named, "--config", "configs/smoke.yaml"]
    argv = [*composed, *options(module, tiny_world, path, token_shards, chats)]
    argv.append(f"--out={tmp_path}")
    if path.stem in GPU_ONLY:
        argv.append("--model.model.depth=1")
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


def parsed(module, argv, monkeypatch):
    """Return a training command's whole configuration by dotted names; nothing is trained."""
    seen = []
    for step in ("before_instantiate_classes", "instantiate_classes"):
        monkeypatch.setattr(TrainCLI, step, lambda self: None)
    monkeypatch.setattr(TrainCLI, "fit_run", lambda cli: seen.append(cli.parser.dump(cli.config)))
    monkeypatch.setattr(sys, "argv", [module, *argv])
    runpy.run_module(module, run_name="__main__")
    return dict(flat(yaml.safe_load(seen[0])))


def flat(nested, group=""):
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from flat(value, f"{group}{key}.")
        else:
            yield f"{group}{key}", value


@pytest.mark.parametrize("path", SPACES, ids=ids)
def test_a_space_sets_the_options_that_it_names_and_no_other(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    line = path.read_text().splitlines()[0]
    module, named, space = SWEEP.match(line).groups()
    assert ROOT / space == path
    values = combinations(read_space(path))[-1]
    (tmp_path / "values.yaml").write_text(to_yaml(values))
    before = parsed(module, ["--config", named], monkeypatch)
    after = parsed(module, ["--config", named, f"--config={tmp_path}/values.yaml"], monkeypatch)
    assert after == before | values
    assert after != before
