"""What takes more than one modality: the world, the shared space, the prior, any to any."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multimodal.unison import Unison

__all__ = ["load"]


def load(run: str | Path = "runs/quickstart", device: str = "auto") -> "Unison":
    """Open a run for generation.

    >>> unison = multimodal.load("runs/quickstart")
    >>> unison.generate(audio="seven.wav", to=["image", "video"], seed=0)

    Args:
        run: Folder with a folder a stage: alignment, prior, and a generator a modality.
        device: Where to compute, as torch names it; `auto` takes a GPU if there is one.
    """
    from multimodal.unison import Unison  # imports torch and Lightning, which takes seconds

    return Unison(run, device)
