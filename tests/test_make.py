"""The Makefile sets up an environment once, wherever it lies and whatever its path holds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHELL = """#!/bin/sh
exec "{python}" -IB "{program}" "$@"
"""
PYTHON = """
import os, sys
from pathlib import Path
words = sys.argv[1:]
with Path({log!r}).open("a") as file:
    print({version!r}, os.environ.get("PYTHONPATH"), *words, sep="|", file=file)
if words[0] == "-c":
    print({version!r})
if words[:2] == ["-m", "venv"]:
    folder = Path(words[-1])
    if "--clear" in words:
        for stamp in folder.glob(".installed-*"):
            stamp.unlink()
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "bin/python").unlink(missing_ok=True)
    (folder / "bin/python").symlink_to(Path(sys.argv[0]).with_suffix(""))
"""
"""A Python that notes what it is asked for, and makes environments of itself."""


class Checkout:
    """A folder with our Makefile, and Pythons that only note their arguments."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "log.txt"
        folder.mkdir()
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)

    def python(self, version: str) -> str:
        """Return a Python of this version."""
        path = self.folder / f"python{version.replace('.', '_')}"
        program = path.with_suffix(".py")
        program.write_text(PYTHON.format(log=str(self.log), version=version))
        path.write_text(SHELL.format(python=sys.executable, program=program))
        path.chmod(0o755)
        return str(path)

    def make(self, *words: str, **environment: str) -> list[list[str]]:
        """Return what Pythons were asked for: version, PYTHONPATH, arguments."""
        self.log.write_text("")
        inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "MAKEFLAGS")}
        subprocess.run(
            ["make", "-s", *words], cwd=self.folder, env=inherited | environment, check=True
        )
        return [line.split("|") for line in self.log.read_text().splitlines()]


@pytest.fixture(params=["plain", "with blanks and ümläuts"])
def checkout(request, tmp_path):
    return Checkout(tmp_path / request.param)


def installs(asked):
    return [version for version, _, *words in asked if "install" in words]


@pytest.mark.parametrize("place", [".venv", "my own env"])
def test_an_environment_is_made_once(place, checkout):
    words = ("setup", f"VENV={place}", f"PYTHON={checkout.python('3.11')}")
    assert installs(checkout.make(*words)) == ["3.11"]
    assert installs(checkout.make(*words)) == []
    (stamp,) = (checkout.folder / place).glob(".installed-*")
    assert stamp.is_file()


def test_other_dependencies_are_installed(checkout):
    words = ("setup", f"PYTHON={checkout.python('3.11')}")
    checkout.make(*words)
    with (checkout.folder / "pyproject.toml").open("a") as file:
        file.write("# one more\n")
    assert installs(checkout.make(*words)) == ["3.11"]
    assert len(list((checkout.folder / ".venv").glob(".installed-*"))) == 1


def test_another_python_that_is_asked_for_makes_the_environment_anew(checkout):
    old, new = (checkout.python(version) for version in ("3.11", "3.12"))
    checkout.make("setup", f"PYTHON={old}")
    asked = checkout.make("setup", f"PYTHON={new}")
    assert installs(asked) == ["3.12"]
    assert any("--clear" in words for words in asked)
    assert installs(checkout.make("setup")) == []  # none is asked for: what is there is used


def test_a_folder_that_is_no_environment_is_never_cleared(checkout):
    (checkout.folder / "mine/bin").mkdir(parents=True)
    (checkout.folder / "mine/bin/python").symlink_to(checkout.python("3.11"))
    asked = checkout.make("setup", "VENV=mine", f"PYTHON={checkout.python('3.12')}")
    assert not any("--clear" in words for words in asked)


def test_an_environment_may_be_a_link_to_one_elsewhere(checkout, tmp_path):
    python, cached = checkout.python("3.11"), tmp_path / "cached"
    cached.mkdir()
    checkout.make("setup", f"VENV={cached}", f"PYTHON={python}")
    (checkout.folder / ".venv").symlink_to(cached)
    assert installs(checkout.make("setup")) == []


def test_this_checkout_comes_before_the_one_that_is_installed(checkout):
    python = checkout.python("3.11")
    asked = checkout.make("smoke", "OUT=my run", f"PYTHON={python}", PYTHONPATH="/elsewhere")
    assert {path for _, path, *_ in asked} == {str(checkout.folder)}
    assert asked[-1][2:4] == ["-m", "multimodal.quickstart"]


def test_an_environment_that_has_the_packages_is_used_as_it_is(checkout):
    words = (f"PYTHON={checkout.python('3.11')}", "VENV=no such", "INSTALL=0")
    asked = checkout.make("quickstart", *words, "OUT=my run", "WORLD=--digits mnist")
    assert [words[1:] for _, *words in asked] == [
        ["-m", "multimodal.quickstart", "--out", "my run", "--preset", "cpu", "--seed", "0",
         "--digits", "mnist"]
    ]  # fmt: skip


def test_all_checks_run_with_the_environments_python(checkout):
    asked = checkout.make("test", f"PYTHON={checkout.python('3.11')}")
    modules = [words[1] for _, _, *words in asked if words[0] == "-m"]
    assert modules == ["venv", "pip", "ruff", "ruff", "pyright", "pytest"]
