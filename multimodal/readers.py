"""Readers: independent classifiers that say what a signal shows, whoever made it.

They judge generated signals, so they are never used to train, to select or to stop anything. They
learn from a split of their own, with handwriting and voices that no generator has seen, through
networks and inputs unlike the towers'. Colour and motion are measured from pixels by plain code,
text is read by the exact parser. The same command trains the second readers (second_readers.py).

    python -m multimodal.readers --world data/world --out runs/quickstart/readers
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from core.cli import command
from core.errors import UserError
from core.files import existing_file
from multimodal import pixels
from multimodal.captions import parse_caption
from multimodal.factors import COLOURS, MOTIONS, SIZES
from multimodal.metrics import ngram_features
from multimodal.pitch import pitch
from multimodal.reader_inputs import (
    BINS,
    augment_contrast,
    augment_spectrogram,
    contrast,
    level,
    spectrogram,
)
from multimodal.reader_nets import PooledNet, ResidualNet, SpectrogramNet
from multimodal.tuples import Tuples

RATE = 8000
CHUNK = 256  # signals a pass; bounds memory


@runtime_checkable
class Reader(Protocol):
    """Says what a batch of signals of one modality shows."""

    def predict(self, signal: Any) -> dict[str, Int[Tensor, "B"]]:
        """Labels by factor; -1 where there is nothing to read."""
        ...

    def features(self, signal: Any) -> Float[Tensor, "B D"]:
        """A description in which like signals are near, for manifolds and distances."""
        ...

    def size(self, signal: Any) -> Float[Tensor, "B"]:
        """A measure that rises with the size, in the modality's own unit; NaN if there is none."""
        ...


class TextReader:
    """The exact parser of complete captions: what it cannot parse is wrong."""

    def predict(self, signal: Sequence[str]) -> dict[str, Int[Tensor, "B"]]:
        """Digit, colour and motion."""
        parsed = [parse_caption(text) for text in signal]
        return {
            "digit": torch.tensor([p["digit"] if p else -1 for p in parsed]),
            "colour": torch.tensor([COLOURS.index(p["colour"]) if p else -1 for p in parsed]),
            "motion": torch.tensor([MOTIONS.index(p["motion"]) if p else -1 for p in parsed]),
        }

    def features(self, signal: Sequence[str]) -> Float[Tensor, "B D"]:
        """Projected counts of words and word pairs."""
        return ngram_features(signal)

    def size(self, signal: Sequence[str]) -> Float[Tensor, "B"]:
        """Which quarter the size word names: 0 to 3."""
        parsed = [parse_caption(text) for text in signal]
        return torch.tensor([float(SIZES.index(p["size"])) if p else torch.nan for p in parsed])


class NetReader(nn.Module):
    """A network under linear heads, one for each factor that is learned."""

    heads_of: ClassVar[dict[str, int]] = {"digit": 10}
    """Factor to number of labels."""

    def __init__(self, net: ResidualNet | PooledNet | SpectrogramNet):
        super().__init__()
        self.net = net
        heads = {factor: nn.Linear(net.width, n) for factor, n in self.heads_of.items()}
        self.heads = nn.ModuleDict(heads)

    def prepare(self, signal: Tensor) -> Tensor:
        """What the network sees of a signal, before any augmentation."""
        raise NotImplementedError

    def augment(self, prepared: Tensor, generator: torch.Generator) -> Tensor:
        """The same, made harder: for training."""
        raise NotImplementedError

    def size(self, signal: Tensor) -> Float[Tensor, "B"]:
        """A measure that rises with the size, by plain code."""
        raise NotImplementedError

    def encode(self, prepared: Tensor) -> Float[Tensor, "B D"]:
        """Features of prepared signals."""
        return self.net(prepared)

    def logits(self, features: Float[Tensor, "B D"]) -> dict[str, Float[Tensor, "B L"]]:
        """Scores of the labels of each learned factor."""
        return {factor: head(features) for factor, head in self.heads.items()}

    @torch.inference_mode()
    def features(self, signal: Tensor) -> Float[Tensor, "B D"]:
        """Outputs of the network's last layer, of unit length.

        Their length grows with the sharpness of strokes, their direction says what is drawn.
        """
        return nn.functional.normalize(self._outputs(signal), dim=-1)

    @torch.inference_mode()
    def predict(self, signal: Tensor) -> dict[str, Int[Tensor, "B"]]:
        """The most probable label of each learned factor."""
        scores = self.logits(self._outputs(signal))
        return {factor: x.argmax(1) for factor, x in scores.items()}

    def _outputs(self, signal: Tensor) -> Float[Tensor, "B D"]:
        self.eval()
        return torch.cat([self.encode(self.prepare(part)) for part in signal.split(CHUNK)])


class ImageReader(NetReader):
    """Digit by a residual network on greyscale contrast, colour from pixels."""

    def __init__(self):
        super().__init__(ResidualNet())

    def prepare(self, signal: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W"]:
        """Contrast to the background."""
        return contrast(signal)

    def augment(
        self, prepared: Float[Tensor, "B H W"], generator: torch.Generator
    ) -> Float[Tensor, "B H W"]:
        """Another hand and another place."""
        return augment_contrast(prepared, generator)

    def predict(self, signal: Float[Tensor, "B 3 H W"]) -> dict[str, Int[Tensor, "B"]]:
        """Digit and colour."""
        return super().predict(signal) | {"colour": pixels.colour(signal)}

    def size(self, signal: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """Height in pixels."""
        return pixels.look(signal).height


class VideoReader(NetReader):
    """Digit by a network that reads each frame and averages, colour and motion from pixels."""

    def __init__(self):
        super().__init__(PooledNet())

    def prepare(self, signal: Float[Tensor, "B F 3 H W"]) -> Float[Tensor, "B F H W"]:
        """Contrast of each frame to its background."""
        frames = contrast(rearrange(signal, "B F C H W -> (B F) C H W"))
        return rearrange(frames, "(B F) H W -> B F H W", F=signal.shape[1])

    def augment(
        self, prepared: Float[Tensor, "B F H W"], generator: torch.Generator
    ) -> Float[Tensor, "B 1 H W"]:
        """One frame of each clip, drawn at random and changed as a picture is."""
        chosen = torch.randint(prepared.shape[1], (len(prepared),), generator=generator)
        frame = prepared[torch.arange(len(prepared)), chosen]
        return rearrange(augment_contrast(frame, generator), "B H W -> B 1 H W")

    def encode(self, prepared: Float[Tensor, "B F H W"]) -> Float[Tensor, "B D"]:
        """Features averaged over the frames."""
        features = self.net(rearrange(prepared, "B F H W -> (B F) H W"))
        return reduce(features, "(B F) D -> B D", "mean", F=prepared.shape[1])

    def predict(self, signal: Float[Tensor, "B F 3 H W"]) -> dict[str, Int[Tensor, "B"]]:
        """Digit, colour and motion."""
        seen = {"colour": pixels.clip_colour(signal), "motion": pixels.motion(signal)}
        return super().predict(signal) | seen

    def size(self, signal: Float[Tensor, "B F 3 H W"]) -> Float[Tensor, "B"]:
        """Height in pixels, the median over frames."""
        return pixels.clip_height(signal)


class AudioReader(NetReader):
    """Digit and colour by 1-D convolutions over a linear-frequency spectrogram; pitch as size."""

    heads_of: ClassVar[dict[str, int]] = {"digit": 10, "colour": len(COLOURS)}

    def __init__(self):
        super().__init__(SpectrogramNet(BINS))

    def prepare(self, signal: Float[Tensor, "B S"]) -> Float[Tensor, "B K T"]:
        """Smoothed log magnitudes."""
        return spectrogram(signal)

    def augment(
        self, prepared: Float[Tensor, "B K T"], generator: torch.Generator
    ) -> Float[Tensor, "B K T"]:
        """Another voice, rate and room."""
        return augment_spectrogram(prepared, generator)

    def encode(self, prepared: Float[Tensor, "B K T"]) -> Float[Tensor, "B D"]:
        """Features of clips, whatever their loudness."""
        return self.net(level(prepared))

    def size(self, signal: Float[Tensor, "B S"]) -> Float[Tensor, "B"]:
        """Octaves that the pitch lies below 1 Hz: the lower the voice, the larger."""
        hertz = torch.cat([pitch(part, RATE) for part in signal.split(CHUNK)])
        return -hertz.log2()


NETS: dict[str, Callable[[], NetReader]] = {
    "image": ImageReader,
    "audio": AudioReader,
    "video": VideoReader,
}
"""Readers that are trained; text is parsed."""


@dataclass(frozen=True)
class Restricted:
    """A reader that is asked only for what the world's signals tell."""

    reader: Reader
    """Whom to ask."""
    factors: tuple[str, ...]
    """For which labels."""

    def predict(self, signal: Any) -> dict[str, Int[Tensor, "B"]]:
        """Labels by factor, of those that signals tell."""
        said = self.reader.predict(signal)
        return {factor: said[factor] for factor in self.factors}

    def features(self, signal: Any) -> Float[Tensor, "B D"]:
        """The reader's own."""
        return self.reader.features(signal)

    def size(self, signal: Any) -> Float[Tensor, "B"]:
        """The reader's own."""
        return self.reader.size(signal)


def restrict(readers: Mapping[str, Reader], real: Tuples) -> dict[str, Reader]:
    """Return readers of a world's signals: recordings of digits, say, tell no colour."""
    return {m: Restricted(reader, real.carried[m]) for m, reader in readers.items()}


def load_readers(folder: Path) -> dict[str, Reader]:
    """Open the readers of all four modalities, as `python -m multimodal.readers` left them."""
    readers: dict[str, Reader] = {"text": TextReader()}
    for modality, kind in NETS.items():
        path = folder / f"{modality}.safetensors"
        if not path.is_file():
            raise UserError(
                f"{folder} holds no {path.name}; train the readers with: "
                f"python -m multimodal.readers --out {folder}"
            )
        readers[modality] = _load(kind(), path)
    return readers


def _load(reader: NetReader, path: Path) -> NetReader:
    try:
        reader.load_state_dict(load_file(existing_file(path)))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{path} holds no reader of this version ({str(error).splitlines()[0]}); train the "
            f"readers again: python -m multimodal.readers --out {path.parent}"
        ) from error
    return reader.eval()


if __name__ == "__main__":
    from multimodal.reader_training import train_readers

    command(train_readers)
