"""The README's commands run, in its order, each on what those before it left.

The files are a user's own (tests/own_files.py); the world, the models and the runs are those that
the commands make. A command gets options behind those that are shown, which make it small, and none
is taken from it. What takes longer than a minute all the same is among the slow ones; what cannot
run here is named with its reason.
"""

import io
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.own_files import picture, sound, write_own_files
from tests.ranks import ENVIRONMENT
from tests.test_readme import chapters, exit_code

SMOKE = " --config configs/smoke.yaml"
SMALLER = {
    "multimodal.shards world": " --train 64 --val 16 --test 32 --readers 64",
    "benchmarks.sampling": " --n 8",
    "benchmarks.starting": " --shards 20 --per_shard 4 --repeats 1",
    "image.train --config configs/image/world_gpu.yaml": f"{SMOKE} --model.model.net.depth=1",
    "image.train --config runs": SMOKE,
    "multimodal.readers": " --steps 2",
    "multimodal.evaluate": " --n 8 --queries 2 --unseen 2",
    "text.tokens --shards data/shakespeare ": " --chat true",
    "text.tasks": " --train 300 --test 20",
    "text.tune --config configs/text/chat.yaml --init runs/shakespeare_char/last.ckpt --data.rep": (
        f"{SMOKE} --data.batch_size=8"  # a quarter of which is replayed
    ),
}
"""What follows the commands that begin so; every other training command has the smoke overlay."""
MINUTES = (
    "benchmarks.sampling", "benchmarks.starting",
    "multimodal.readers", "multimodal.evaluate", "multimodal.probes", "multimodal.report",
    "multimodal.export", "text.export", "image.export", "text.convert",
    "image.shards --source my_files --out data/more --engine ray",
)  # fmt: skip
"""Run among the slow tests only, each as a process of its own, as a user runs it."""
ELSEWHERE = {
    "multimodal.demo": "serves until it is stopped: tests/multimodal/demo",
    "multimodal.rivals": "trains five systems: tests/multimodal/test_rivals.py",
    "multimodal.baselines": "needs the rivals: tests/multimodal/test_baselines.py",
    "multimodal.emergent": "trains more towers: tests/multimodal/test_alignment.py",
    "multimodal.compare": "needs a second quick start: tests/multimodal/test_compare.py",
    "multimodal.evaluate --run runs/quickstart": "runs as --run runs does",
    "multimodal.shards world --out data/recorded": "needs recordings: test_speech.py",
    "multimodal.shards world --out data/spanish": "takes minutes: test_world_shards.py",
    "text.harness": "needs the network, or tasks: tests/text/test_harness.py",
    "image.shards --source my_files --out data/most": "needs a cluster: tests/test_building.py",
    "image.train --config configs/image/world.yaml --data.root s3:": "tests/core/test_storage.py",
    "core.sweep": "30 runs: tests/core/test_sweep.py",
    "benchmarks.drawn_digits": "needs MNIST, a trained run: test_drawn_digits.py",
    "benchmarks.gpu": "tests/benchmarks/test_gpu.py",
    "benchmarks.building": "takes minutes: tests/benchmarks/test_building.py",
    "benchmarks.decoding": "takes minutes: tests/benchmarks/test_decoding.py",
    "benchmarks.loading": "compares on a whole world: tests/benchmarks/test_loading.py",
    "benchmarks.pretraining": "needs litgpt",
    "benchmarks.ranks": "2,048 pairs of a whole world: tests/test_ranks.py",
    "benchmarks.shakespeare": "trains for minutes: tests/benchmarks/test_shakespeare.py",
    "benchmarks.tuning": "trains for minutes: tests/benchmarks/test_tuning.py",
}  # fmt: skip
"""Why a command does not run here, and where what it does is tested."""


def starts(line: str, beginnings) -> str:
    """Return the longest of some beginnings that a line has, or nothing."""
    return max((b for b in beginnings if line.startswith(b)), key=len, default="")


def smaller(line: str, folder: Path) -> str:
    """Return a command with what makes it small behind it; a run of its own where one is there."""
    module = line.split()[0]
    trains = module.endswith((".train", ".train_prior", ".train_vocoder", ".tune"))
    if "--help" in line:
        return line
    known = starts(line, SMALLER)
    line += SMALLER[known] if known else SMOKE if trains and SMOKE not in line else ""
    if trains and "--out" not in line and "--resume" not in line:
        used = len(list((folder / "runs").glob("again*")))
        stem = {"multimodal.train": "alignment", "multimodal.train_prior": "prior",
                "audio.train_vocoder": "vocoder"}.get(module, module.split(".")[0])  # fmt: skip
        if (
            "shakespeare" not in line
            and module != "text.tune"
            and (folder / "runs" / stem).exists()
        ):
            line += f" --out runs/again{used}"
    return line


def run_all(lines: list[str], folder: Path, monkeypatch, *, before: Callable[[str], None]) -> None:
    """Run commands one after the other in a folder; each must end well and leave what it names."""
    monkeypatch.chdir(folder)
    failed = []
    for shown in lines:
        before(shown)
        line = smaller(shown, folder)
        assert line.startswith(shown)
        if starts(shown, MINUTES):
            done = subprocess.run([sys.executable, "-m", *shlex.split(line)], env=ENVIRONMENT)
            code = done.returncode
        else:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdin", io.StringIO("hello\n"))
                code = exit_code(line, patch)
        words = shlex.split(line)
        left = "--out" not in words or Path(words[words.index("--out") + 1]).exists()
        if code != 0 or not left:
            failed.append(line)
    assert failed == []


def wanted(*headings: str, slow: bool) -> list[str]:
    """Return the commands below headings, without those that run elsewhere, nor slow ones."""
    found = [line for heading in headings for line in chapters()[heading]]
    found = [line for line in found if not starts(line, ELSEWHERE)]
    return found if slow else [line for line in found if not starts(line, MINUTES)]


@pytest.fixture
def desk(tmp_path) -> Iterator[Path]:
    """Return a folder with a user's files; configurations come with the package."""
    folder = tmp_path / "my dësk"
    folder.mkdir()
    write_own_files(folder / "my_files")
    sound(folder / "seven.wav", 1.0, 48_000, 180.0)
    picture(folder / "three.png", (640, 480), "orange", "three")
    (folder / "docs").mkdir()
    (folder / "runs/sweep").mkdir(parents=True)
    (folder / "runs/sweep/best.yaml").write_text("model: {optim: {schedule: {decay: 0.2}}}")
    (folder / "prompts.txt").write_text("ROMEO:\nJULIET:\n")
    (folder / "my_languages").mkdir()
    (folder / "my_languages" / "de.txt").write_text("Ein Fuchs läuft über die Straße.\n")
    return folder


def quickstart_is(folder: Path) -> Callable[[str], None]:
    """Return what stands in for `make quickstart`: the models that the commands before trained."""

    def before(line: str) -> None:
        uses = "runs/quickstart" in line or line.startswith("multimodal.generate")
        if uses and not (folder / "runs/quickstart").exists():
            (folder / "runs/world").symlink_to(folder / "data/world")
            (folder / "runs/quickstart").symlink_to(folder / "runs")

    return before


def language_models(folder: Path) -> Callable[[str], None]:
    """Return what stands in for models that the README does not train: the one that it does."""

    def before(line: str) -> None:
        runs = folder / "runs"
        if line.startswith(("text.generate", "text.perplexity")) and not (runs / "text").exists():
            for name in ("text", "small"):
                (runs / name).symlink_to(runs / "shakespeare_char")
            (folder / "data/tokens").symlink_to(folder / "data/shakespeare_char")
        if line.startswith("text.tokens --shards data/texts"):
            (folder / "data/tokens").unlink()
        if line.startswith("text.convert --from hf"):
            from tests.foreign import save_foreign

            save_foreign("gpt2", folder / "gpt2")

    return before


def worlds(*, slow: bool) -> list[str]:
    """Return the commands around the world: the quick start's own, then those that use its run."""
    lines = wanted("Train each modality", slow=slow)
    measured = [line for line in lines if line.startswith(("multimodal.report", "multimodal.prob"))]
    used = [
        x for x in wanted("Generate", "Leave for elsewhere", slow=slow) if "runs/text/" not in x
    ]
    return [line for line in lines if line not in measured] + used + measured


def languages(*, slow: bool) -> list[str]:
    """Return the commands around language models, and then those on a user's own files."""
    used = [line for line in wanted("Generate", slow=slow) if "runs/text/" in line]
    convert = [x for x in wanted("Language models", slow=slow) if x.startswith("text.convert")]
    lines = [x for x in wanted("Language models", slow=slow) if x not in convert]
    tuned = wanted("Tune a language model", slow=slow)
    return lines + tuned + used + convert + wanted("Bring your own data", slow=slow)


def test_the_commands_around_the_world_run_in_order(desk, monkeypatch):
    run_all(worlds(slow=False), desk, monkeypatch, before=quickstart_is(desk))


def test_the_commands_around_language_models_and_own_files_run_in_order(desk, monkeypatch):
    run_all(languages(slow=False), desk, monkeypatch, before=language_models(desk))


@pytest.mark.slow  # minutes
@pytest.mark.parametrize(
    ("lines", "stand_ins"), [(worlds, quickstart_is), (languages, language_models)]
)
def test_all_commands_run_in_order(lines, stand_ins, desk, monkeypatch):
    run_all(lines(slow=True), desk, monkeypatch, before=stand_ins(desk))


def test_every_command_runs_here_or_says_where():
    shown = {line for lines in chapters().values() for line in lines}
    here = {*worlds(slow=True), *languages(slow=True)}
    assert {line for line in shown - here if not starts(line, ELSEWHERE)} == set()
    assert [b for b in ELSEWHERE if not any(line.startswith(b) for line in shown)] == []
