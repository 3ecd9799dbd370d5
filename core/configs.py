"""Configuration files by name: those of the working folder first, then those installed with us."""

from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, or the folder that packages are installed into."""
DEFAULTS = ROOT / "configs" / "defaults.yaml"
OURS = ("configs", "papers")
"""Folders of configurations in `ROOT`."""


def find_config(name: str | Path) -> Path:
    """Return the path of a configuration, so that `configs/image/world.yaml` works in any folder.

    A file of the working folder wins. A path that is found nowhere is returned as it is.
    """
    path = Path(name)
    found = path.exists() or path.parts[:1] not in {(folder,) for folder in OURS}
    return ROOT / path if not found and (ROOT / path).is_file() else path


def find_configs(argv: Iterable[str]) -> Iterator[str]:
    """Yield a command's arguments with the path of each `--config` found."""
    before = ""
    for word in argv:
        option, equals, name = word.partition("=")
        if before in ("--config", "-c"):
            yield str(find_config(word))
        elif equals and option == "--config":
            yield f"{option}={find_config(name)}"
        else:
            yield word
        before = word
