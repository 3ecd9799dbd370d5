"""Every option that this repository names, in messages, docstrings and headers, is one that is."""

import ast
import dataclasses
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from core import cli, train_cli

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "text", "image", "audio", "video", "multimodal", "papers", "benchmarks")
FLAG = re.compile(r"(?<![\w\-(/])(--[A-Za-z][\w.-]*\w)(?![\w(])")
COMMAND = re.compile(r"python -m ([\w.]+)")
RUNS = re.compile(
    r'^if __name__ == "__main__":\n(?:    .*\n|\n)*?.*\b(?:command|train|guard|main)\(', re.M
)
OTHERS = re.compile(r"\b(git|torchrun|ray start|pip|make|srun|sbatch|espeak-ng|llama-\w+|litgpt)\b")
"""Programs with options of their own."""
NOT_OURS = {"--always", "--dirty", "--abbrev", "--heat", "--option"}
"""Of git, of style sheets, and what stands for any option."""
VERBS = {("text.convert", "--from"), ("text.convert", "--to")}
"""Take the place of a verb before a parser sees them."""


class Found(Exception):
    """Ends a command once its parsers are known."""

    def __init__(self, *parsers: Any):
        self.parsers = parsers


def _commands() -> list[str]:
    """Return the modules that are commands."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    found = [path for path in files if RUNS.search(path.read_text(encoding="utf-8"))]
    return [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in found]


def parsers_of(module: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Any, ...]:
    """Return the parsers of a command: one, or one of each verb."""
    from jsonargparse import ArgumentParser, auto_parser

    def command(function: Any, argv: Any = None) -> None:
        functions = function.values() if isinstance(function, dict) else [function]
        raise Found(*(auto_parser(f, as_positional=False, parser_class=ArgumentParser)
                      for f in functions))  # fmt: skip

    def parse(self: Any, parser: Any, args: Any) -> None:
        raise Found(parser)

    monkeypatch.setattr(cli, "command", command)
    monkeypatch.setattr(train_cli.TrainCLI, "parse_arguments", parse)
    monkeypatch.setattr(sys, "argv", [module, *words])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Found as found:
        return found.parsers
    except (SystemExit, OSError):  # one that wants words, or a worker that wants orders
        pass
    return ()


@pytest.fixture(scope="module")
def known() -> dict[str, tuple[Any, ...]]:
    """Return the parsers of every command."""
    with pytest.MonkeyPatch.context() as patch:
        found = {module: parsers_of(module, patch) for module in _commands()}
        found["text.convert"] += parsers_of("text.convert", patch, "--from", "hf")
        found["text.convert"] += parsers_of("text.convert", patch, "--to", "hf")
        return found


def knows(parser: Any, flag: str) -> bool:
    """Tell whether a parser takes an option, or a field of a type that another may have."""
    actions = parser._option_string_actions
    for name in (flag, flag.replace("-", "_").replace("__", "--", 1)):
        if name in actions or any(a.startswith(f"{name}.") for a in actions):
            return True
        parent, rest = name, []
        while "." in parent:
            parent, _, field = parent.rpartition(".")
            rest.insert(0, field)
            kind = getattr(actions.get(parent), "_typehint", None)
            if kind is not None and _has(kind, rest):
                return True
    return False


def _has(kind: Any, fields: list[str]) -> bool:
    kinds = [kind, *get_args(kind)]
    if not fields:
        return True
    for one in kinds:
        if dataclasses.is_dataclass(one):
            for field in dataclasses.fields(one):
                if field.name == fields[0] and _has(field.type, fields[1:]):
                    return True
    return False


def texts(path: Path) -> Iterator[str]:
    """Yield what a file says: the strings of a program, the comments of a configuration."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield "\n".join(line for line in source.splitlines() if line.lstrip().startswith("#"))
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = node.values
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def named(path: Path) -> set[tuple[str, str | None]]:
    """Return the options that a file names, each with the command of its line if it shows one."""
    found = set()
    for text in texts(path):
        for line in text.replace("\\\n", " ").splitlines():
            if OTHERS.search(line) or "var(--" in line:
                continue
            command = COMMAND.search(line)
            for flag in FLAG.finditer(line):
                shown = command is not None and command.start() < flag.start()
                found.add((flag.group(1), command.group(1) if command and shown else None))
    return found


FILES = sorted(
    path
    for folder in (*PACKAGES, "configs")
    for suffix in ("py", "yaml")
    for path in (ROOT / folder).rglob(f"*.{suffix}")
)


def commands_for(path: Path, command: str | None, known: dict[str, tuple[Any, ...]]) -> list[Any]:
    """Return the parsers that may take an option which a file names.

    That of the command in the same line; else a modality's own, or any where several are served.
    """
    if command and command.split(".")[0] in PACKAGES:
        return [*known.get(command, ()), *known.get(f"{command}.__main__", ())]
    package = path.relative_to(ROOT).parts[0]
    own = (package, "core") if package in ("text", "image", "audio", "video") else PACKAGES
    return [p for name, parsers in known.items() if name.split(".")[0] in own for p in parsers]


def test_every_option_that_is_named_is_one(known):
    wrong = []
    for path in FILES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for flag, command in sorted(named(path), key=str):
            if flag in NOT_OURS or (command or module, flag) in VERBS:
                continue
            if not any(knows(parser, flag) for parser in commands_for(path, command, known)):
                wrong.append(f"{path.relative_to(ROOT)}: {flag} of {command or 'any command'}")
    assert not wrong, "\n".join(wrong)


def test_nearly_every_command_has_a_parser(known):
    """Or the other test would prove nothing."""
    without = {module for module, parsers in known.items() if not parsers}
    assert len(without) <= 6, without


def test_an_option_that_is_not_there_is_found(known):
    image = known["image.train"]
    assert not any(knows(parser, "--model.net.width") for parser in image)
    for flag in ("--model.model.net.width", "--model.optim.rule.lr", "--data.root", "--config"):
        assert any(knows(parser, flag) for parser in image), flag
