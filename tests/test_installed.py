"""What is installed works without the checkout, and in a bare container.

There HOME cannot be written, the user has no name, and there is no compiler, no git and no network.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.own_files import write_own_files

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "text", "image", "audio", "video", "multimodal", "configs")
BARE = """
import pwd, runpy, socket, sys

def nameless(_):
    raise KeyError("no line of passwd")

def no_network(self, address):
    raise OSError("no network")

pwd.getpwuid, socket.socket.connect = nameless, no_network
import core
print(core.__file__)
for line in COMMANDS:
    sys.argv = line
    try:
        runpy.run_module(line[0], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if stop.code:
            sys.exit(f"{line}: {stop.code}")
"""
"""Runs commands in one process, in which users have no names and nothing answers."""


def files_of(folder: Path) -> set[str]:
    """Return the files of the packages in a folder."""
    found = {path for package in PACKAGES for path in (folder / package).rglob("*")}
    return {
        str(path.relative_to(folder))
        for path in found
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return a wheel, built of a copy of the checkout without its history."""
    pytest.importorskip("setuptools", "77", reason="needs setuptools 77 to build without a network")
    folder = tmp_path_factory.mktemp("build")
    source = folder / "a cöpy"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    words = ["wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the folder that the wheel, which holds no compiled code, is unpacked into."""
    folder = tmp_path_factory.mktemp("installed") / "site packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_a_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == files_of(ROOT)
    assert {"configs/defaults.yaml", "configs/image/world.yaml", "multimodal/report.css"} <= held


def bare(installed: Path, folder: Path, *commands: str | list[str]) -> subprocess.CompletedProcess:
    """Run commands of the installed package in a folder, as in a container."""
    lines = [line.split() if isinstance(line, str) else line for line in commands]
    hidden = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "MPLCONFIGDIR")
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    (folder / "tmp").mkdir(exist_ok=True)
    places = {
        "HOME": "/proc/nohome", "PATH": "/nowhere", "PYTHONPATH": str(installed),
        "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    script = f"COMMANDS = {lines!r}\n{BARE}"
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=kept | places,
        capture_output=True,
        text=True,
    )


def test_an_installed_package_builds_trains_and_generates_in_a_bare_container(
    installed, token_shards, tmp_path
):
    folder = tmp_path / "my dësk"
    folder.mkdir()
    write_own_files(folder / "my files")
    done = bare(
        installed,
        folder,
        ["image.shards", "--source", "my files", "--out", "data/my pictures"],
        ["image.train", "--config", "configs/image/world.yaml", "--config=configs/smoke.yaml",
         "--data.root", "data/my pictures", "--out", "runs/image"],
        ["text.train", "--config", "configs/text/shakespeare_char_cpu.yaml", "--config",
         "configs/smoke.yaml", "--data.root", str(token_shards), "--out", "runs/text"],
        "text.generate --checkpoint runs/text/last.ckpt --prompt 12 --options.max_tokens 4",
        "core.checkpoint show runs/image/last.ckpt",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[0] == str(installed / "core/__init__.py")
    assert "unknown" in done.stdout  # no commit of a checkout that the package may lie in
    assert (folder / "runs/image/last.ckpt").is_file()
    assert json.loads((folder / "data/my pictures/train/manifest.json").read_text())


def test_the_page_and_the_report_load_in_a_bare_container(installed, tmp_path):
    code = (
        "import matplotlib.pyplot, multimodal.report, multimodal.demo.app, multimodal.demo.page;"
        "from multimodal.stages import stages; from pathlib import Path;"
        "plan = stages(Path('runs/x'), 'cpu', True);"
        "assert all(c.is_file() for s in plan for c in s.configs);"
        "assert not any('tests/fixtures' in s.arguments for s in plan)"
    )
    (tmp_path / "loads.py").write_text(code)
    done = bare(installed, tmp_path, "loads")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow  # minutes
def test_the_installed_quick_start_runs_in_another_folder(installed, tmp_path):
    done = bare(installed, tmp_path, "multimodal.quickstart --out my/run --smoke true")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "my/run/report.html").is_file()
