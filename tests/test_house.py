"""What holds for the whole house: every package is ours, and who knows one knows its sisters."""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODALITIES = ("text", "image", "audio", "video")
PACKAGES = ("core", *MODALITIES, "multimodal")
RESEARCH = {"papers", "benchmarks"}
FILES = {
    path: path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
}
SHARED = {"data", "encoder", "files", "generate", "model", "module", "shards", "train"}
CODEC = {"text": "tokenizer", "image": "codec", "audio": "codec", "video": "codec"}
GRAB_BAGS = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_the_one_in_this_repository(package):
    file = importlib.import_module(package).__file__
    assert file is not None
    assert Path(file).resolve() == ROOT / package / "__init__.py"


def packages_of(root: Path) -> set[str]:
    """Return the packages of a checkout, whatever else lies in it (an environment, data, runs)."""
    tops = [path.parent for path in root.glob("*/__init__.py")]
    below = [path.parent for top in tops for path in top.rglob("__init__.py")]
    return {".".join(folder.relative_to(root).parts) for folder in below}


def test_the_packages_on_disk_are_those_that_are_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = {name for name in packages_of(ROOT) if name.split(".")[0] not in RESEARCH}
    folders = {path.parent for path in (ROOT / "configs").rglob("*.yaml")}
    configs = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert found == {*PACKAGES, "core.sweep", "text.corpus", "text.native", "multimodal.demo"}
    assert found | configs == set(project["tool"]["setuptools"]["packages"])
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]


@pytest.mark.parametrize("beside", [".venv/lib/python3.11/site-packages", "env/lib", "build/lib"])
def test_an_environment_in_the_checkout_holds_no_package_of_ours(beside, tmp_path):
    for folder in ("core", f"{beside}/numpy", f"{beside}/core"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    assert packages_of(tmp_path) == {"core"}


def test_torch_and_its_companions_are_pinned_to_the_releases_built_for_one_another():
    # A patch of one of them alone is no patch: torchaudio 2.11.1 does not load beside torch 2.11.0.
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = dict(need.split("==") for need in needs if need.startswith("torch"))
    assert set(pins) == {"torch", "torchvision", "torchaudio"}
    for name, version in pins.items():
        assert importlib.metadata.version(name).split("+")[0] == version


def test_no_module_is_named_after_the_standard_library():
    ours = {*PACKAGES, *(path.stem for path in FILES if path.stem != "__init__")}
    assert ours & sys.stdlib_module_names == set()


def test_no_module_is_a_grab_bag():
    assert [str(name) for path, name in FILES.items() if path.stem in GRAB_BAGS] == []


@pytest.mark.parametrize("package", MODALITIES)
def test_each_modality_has_the_same_files(package):
    stems = {path.stem for path in (ROOT / package).rglob("*.py")}
    assert stems >= SHARED | {"__init__", CODEC[package]}


@pytest.mark.parametrize("package", MODALITIES)
def test_each_modality_exports_the_same_names(package):
    module = importlib.import_module(package)
    name = package.capitalize()
    wanted = {f"{name}{part}" for part in ("Config", "Data", "Encoder", "EncoderConfig", "Module")}
    assert wanted <= set(module.__all__)
    assert any(exported.endswith("Codec") for exported in module.__all__)
    for exported in module.__all__:
        assert getattr(module, exported).__module__.startswith(f"{package}.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_is_and_fits_the_eye(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 400


def test_tests_are_no_package():
    assert list((ROOT / "tests").rglob("__init__.py")) == []
