"""Every command that a page of the documentation shows is one that works."""

import ast
import inspect
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from core import cli, train_cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/cluster.md")
FIXTURES = ROOT / "tests" / "fixtures"
QUICK = (
    "image.shards",
    "text.shards",
    "audio.shards",
    "video.shards",
    "multimodal.shards folder",
    "image.train --config configs/image/world.yaml --config configs/smoke.yaml",
)
"""Beginnings of the commands that are run, on tiny data; the others are parsed."""
CLUSTER = "--engine ray"
"""What tests/test_building.py runs."""


def blocks(page: str, language: str) -> list[str]:
    """Return a page's code blocks of one language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


def commands(program: str) -> list[str]:
    """Return the shown command lines of one program, without it and without their comments."""
    shown = [block for page in PAGES for block in blocks(page, "bash")]
    lines = [line for block in shown for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    start = program.split()
    return [shlex.join(w[len(start) :]) for w in words if w[: len(start)] == start]


PYTHON = [line for line in commands("python -m") if not line.startswith("pytest")]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Return a folder to work in: configurations, a run to go on with, a sweep's best."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "runs" / "image").mkdir(parents=True)
    shutil.copy(ROOT / "configs/image/world.yaml", tmp_path / "runs/image/config.yaml")
    (tmp_path / "runs" / "sweep").mkdir()
    (tmp_path / "runs/sweep/best.yaml").write_text("model: {optim: {schedule: {decay: 0.2}}}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, *argv = shlex.split(line)
    monkeypatch.setattr(sys, "argv", [module, *argv])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def exit_code(line: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    try:
        run(line, monkeypatch)
    except SystemExit as stop:
        return stop.code or 0
    return 0


def parse_only(function: Any, argv: list[str] | None = None) -> None:
    """Stand in for `core.cli.command`: the same parser, but nothing is called."""
    from jsonargparse import ArgumentParser, auto_parser

    base = cli.strict(ArgumentParser)
    parser = auto_parser(function, as_positional=False, parser_class=base)
    parser.parse_args(sys.argv[1:] if argv is None else list(argv))


@pytest.mark.parametrize("line", PYTHON)
def test_a_shown_command_is_understood(line, desk, monkeypatch):
    monkeypatch.setattr(cli, "command", parse_only)
    for step in ("before_instantiate_classes", "instantiate_classes", "fit_run"):
        monkeypatch.setattr(train_cli.TrainCLI, step, lambda self: None)
    assert exit_code(line, monkeypatch) == 0


@pytest.mark.parametrize(
    "line", [line for line in PYTHON if line.startswith(QUICK) and CLUSTER not in line]
)
def test_a_quick_command_runs(line, desk, tiny_world, monkeypatch):
    (desk / "data").mkdir()
    (desk / "data" / "world").symlink_to(tiny_world)
    shutil.copytree(FIXTURES, desk / "my_files")
    shutil.copy(FIXTURES / "seven.wav", desk / "my_files" / "four.wav")
    shutil.copy(FIXTURES / "four.txt", desk / "my_files" / "input.txt")
    run(line, monkeypatch)
    written = {path.name for path in desk.rglob("*")}
    assert "manifest.json" in written or "last.ckpt" in written


@pytest.mark.parametrize("target", sorted({line.split()[0] for line in commands("make")}))
def test_a_shown_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_shown_python_calls_what_there_is():
    from multimodal.unison import Unison

    (code,) = blocks("README.md", "python")
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    named = {c.func.attr: c for c in calls if isinstance(c.func, ast.Attribute)}
    given = {keyword.arg: None for keyword in named["generate"].keywords if keyword.arg}
    inspect.signature(Unison.generate).bind(None, **given)
    assert named["load"].args


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_file_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_every_room_of_the_tree_is_there():
    tree = next(block for block in blocks("README.md", "") if "core/" in block)
    rooms = re.findall(r"^(\w+)/ ", tree, re.MULTILINE)
    assert len(rooms) > 7
    assert [room for room in rooms if not (ROOT / room).is_dir()] == []
