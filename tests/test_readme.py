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


def blocks(page: str, language: str) -> list[str]:
    """Return a page's code blocks of one language."""
    return blocks_of((ROOT / page).read_text(encoding="utf-8"), language)


def blocks_of(text: str, language: str) -> list[str]:
    """Return a text's code blocks of one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


def commands(program: str) -> list[str]:
    """Return the shown command lines of one program, without it and without their comments."""
    texts = ((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    return [line for text in texts for line in programs(text, program)]


def programs(text: str, program: str) -> list[str]:
    """Return the command lines of one program in a text."""
    lines = [x for b in blocks_of(text, "bash") for x in b.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    start = program.split()
    return [shlex.join(w[len(start) :]) for w in words if w[: len(start)] == start]


def chapters() -> dict[str, list[str]]:
    """Return the README's commands of ours (python -m), by the heading that they stand below."""
    parts = re.split(r"^## (.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M)
    return {
        heading: [line for line in programs(text, "python -m") if not line.startswith("pytest")]
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


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
