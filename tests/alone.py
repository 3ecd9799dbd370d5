"""What exports are tried with: a Python that has not got us, and our functions unchecked."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABSENT = (
    "core", "text", "image", "audio", "video", "multimodal", "einops", "jaxtyping", "lightning",
)  # fmt: skip


def run_alone(code: str, folder: Path, absent: tuple[str, ...] = ()) -> str:
    """Run code in a folder, with none of our packages to import, and return what it prints.

    Args:
        code: To run.
        folder: Where.
        absent: Further packages that it must do without.
    """
    names = (*ABSENT, *absent)
    hidden = f"import sys\nsys.modules |= dict.fromkeys({names!r})\n"
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = kept | {"HF_HOME": str(folder / "hf"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", hidden + code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@contextmanager
def unchecked() -> Iterator[None]:
    """Leave shapes and types unchecked: while a graph is traced a length is no int."""
    from jaxtyping import config

    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)


def card_code(card: Path) -> str:
    """Return the Python that a README.md shows."""
    text = card.read_text(encoding="utf-8")
    (block,) = text.split("```python\n")[1:]
    return block.split("```")[0]
