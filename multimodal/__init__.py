"""What takes more than one modality: the world, the shared space, the prior, any to any."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from multimodal.unison import Unison

__all__ = ["load", "save", "to_pillow"]


def load(run: str | Path = "runs/quickstart", device: str = "auto") -> "Unison":
    """Open a run for generation.

    >>> unison = multimodal.load("runs/quickstart")
    >>> made = unison.generate(audio="seven.wav", to=["image", "video"], seed=0)
    >>> multimodal.to_pillow(made["image"][0])  # a notebook shows it
    >>> multimodal.save("seven.mp4", made["video"][0])

    Args:
        run: Folder with a folder a stage: alignment, prior, and a generator a modality.
        device: Where to compute, as torch names it; `auto` takes a GPU if there is one.
    """
    from multimodal.unison import Unison  # imports torch and Lightning, which takes seconds

    return Unison(run, device)


def save(path: str | Path, signal: Any, rate: int = 8_000) -> None:
    """Write one signal that was made: a text (.txt), image (.png), sound (.wav) or clip (.mp4).

    Args:
        path: The file; its suffix says what the signal is.
        signal: One of a batch, such as `made["image"][0]`.
        rate: Of a sound, Hz: `Unison.rate`.
    """
    from core.errors import UserError
    from multimodal.media import MEDIA

    media = {medium.suffix: modality for modality, medium in MEDIA.items()}
    modality = media.get(Path(path).suffix.lower())
    if modality is None:
        raise UserError(f"{path} must end in one of {', '.join(media)}, which says what is written")
    more = {"rate": rate} if modality == "audio" else {}
    MEDIA[modality].write(path, signal, **more)


def to_pillow(image: Any, upscale: int = 8) -> "Image":
    """Return one image that was made, [3 H W] in [-1, 1], for a notebook to show.

    Args:
        image: Such as `made["image"][0]`.
        upscale: How often each pixel is repeated a side.
    """
    from core.pictures import to_pillow as convert

    return convert(image, upscale)
