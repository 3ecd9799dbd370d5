"""The world of spoken moving digits: four signals a sample, exact factors, private variation.

A sample is a pure function of (seed, split, index). What a modality does not carry is drawn anew
for each modality, so that neither place nor handwriting nor voice links two signals.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from core.errors import UserError
from multimodal.captions import (
    NUMERAL_SHARE,
    SUBSETS,
    caption,
    check_languages,
    parse_caption,
    query,
)
from multimodal.digits import Digits, DigitSource, load_digits, load_handwriting
from multimodal.drawing import (
    PIXELS,
    draw_look,
    height_of,
    render_image,
    render_ink,
    render_video,
)
from multimodal.factors import (
    COLOUR_RGB,
    COLOURS,
    FACTORS,
    MOTIONS,
    SIZES,
    SPLITS,
    Factor,
    Factors,
    Split,
    held_out,
    size_word,
)
from multimodal.pens import draw_line
from multimodal.recordings import Recordings
from multimodal.speech import (
    Bank,
    SpeechSource,
    Spoken,
    draw_spoken,
    encode_flac,
)

__all__ = [
    "COLOURS",
    "COLOUR_RGB",
    "FACTORS",
    "MOTIONS",
    "NUMERAL_SHARE",
    "SIZES",
    "SPLITS",
    "Factors",
    "Scene",
    "World",
    "WorldConfig",
    "draw_scene",
    "held_out",
    "members",
    "parse_caption",
    "size_word",
]

SPOKEN_SUBSETS: tuple[tuple[Factor, ...], ...] = (("digit",), ("colour",), ("digit", "colour"))
"""What an utterance may mention; its pitch carries the size in any case."""

PLAN, TEXT, QUERY_TEXT, IMAGE, VIDEO, AUDIO, QUERY_AUDIO, DRAWN = range(8)
"""One stream of random numbers for each."""

HANDS_SHARE = 0.9
"""Share of the scans under drawings that are MNIST's, by more people than the world's own."""


@dataclass(frozen=True)
class WorldConfig:
    """Which world to build; with the sources it determines every byte."""

    digits: DigitSource = "sklearn"
    """Handwriting."""
    speech: SpeechSource = "espeak"
    """Voices."""
    languages: tuple[str, ...] = ("en",)
    """Languages of captions and utterances, drawn evenly."""
    seed: int = 0
    """Of everything drawn."""
    fold: int = 0
    """Of recorded speech: which speaker tests and who is the readers', by rotation."""
    train: int = 10_000
    """Samples to train on."""
    readers: int = 5_000
    """Samples to train the independent readers on."""
    val: int = 1_000
    """Samples to validate on."""
    test: int = 2_000
    """Samples to test on, held-out combinations among them."""

    def __post_init__(self):
        check_languages(self.languages)
        if self.seed < 0:
            raise UserError(f"seed {self.seed} is negative; choose 0 or more")
        if self.fold and self.speech != "fsdd":
            raise UserError(f"fold {self.fold} rotates recorded speakers; add --speech fsdd")
        for split in SPLITS:
            if self.samples(split) < 1:
                raise UserError(f"{split} {self.samples(split)}: a split needs a sample or more")

    def samples(self, split: Split) -> int:
        """Return the number of samples of a split."""
        return {
            "train": self.train,
            "readers": self.readers,
            "val": self.val,
            "test": self.test,
        }[split]

    def rng(self, split: Split, index: int, stream: int) -> np.random.Generator:
        """Return a sample's own random numbers for one stream."""
        return np.random.default_rng([self.seed, SPLITS.index(split), index, stream])


@dataclass(frozen=True)
class Scene:
    """The plan of a sample: its factors, and what its queries mention."""

    factors: Factors
    """What the scene shows."""
    language: str
    """Of caption and speech."""
    query_text: tuple[Factor, ...]
    """Mentioned by query.txt."""
    query_audio: tuple[Factor, ...]
    """Mentioned by query.flac; the pitch tells the size besides."""
    spoken: Spoken
    """Bank entry of the utterance."""
    spoken_query: Spoken
    """Bank entry of the query's utterance."""


def draw_scene(config: WorldConfig, split: Split, index: int) -> Scene:
    """Draw the plan of a sample; held-out combinations only where a split may see them."""
    rng = config.rng(split, index, PLAN)
    factors = _draw_factors(split, rng)
    language = config.languages[rng.integers(len(config.languages))]
    query_text = SUBSETS[rng.integers(len(SUBSETS))]
    query_audio = SPOKEN_SUBSETS[rng.integers(len(SPOKEN_SUBSETS))]
    return Scene(
        factors=factors,
        language=language,
        query_text=query_text,
        query_audio=query_audio,
        spoken=draw_spoken(split, language, factors, SPOKEN_SUBSETS[-1], rng),
        spoken_query=draw_spoken(split, language, factors, query_audio, rng),
    )


def _draw_factors(split: Split, rng: np.random.Generator) -> Factors:
    digit, size = int(rng.integers(10)), round(float(rng.random()), 4)
    while True:
        colour = COLOURS[rng.integers(len(COLOURS))]
        motion = MOTIONS[rng.integers(len(MOTIONS))]
        if split in ("readers", "test") or not held_out(digit, colour, motion):
            return Factors(digit, colour, motion, size)


def members(speech: SpeechSource, split: Split) -> tuple[str, ...]:
    """Return the members of every sample of a split."""
    spoken = () if speech == "none" else ("flac", "query.flac")
    drawn = ("drawn.png",) if split == "train" else ()
    return ("txt", "query.txt", "png", *drawn, *spoken, "video.npy", "json")


class World:
    """The sources of a world, ready to make samples."""

    def __init__(
        self,
        config: WorldConfig,
        speech: Bank | Recordings | None,
        digits_source: Path | None = None,
    ):
        self.config = config
        self.speech = speech
        self._digits_source = digits_source

    def sample(self, split: Split, index: int) -> dict[str, str | bytes]:
        """Make one sample: its key and the bytes of its members."""
        scene = draw_scene(self.config, split, index)
        text, seen = self._text(scene, split, index), self._seen(scene, split, index)
        heard = self._heard(scene, split, index)
        facts = {
            **vars(scene.factors),
            "language": scene.language,
            "held_out": held_out(scene.factors.digit, scene.factors.colour, scene.factors.motion),
            "query_text": scene.query_text,
            **seen.pop("facts"),
            **heard.pop("facts"),
        }
        line = json.dumps(facts, sort_keys=True).encode()
        return {"__key__": f"{index:06d}", **text, **seen, **heard, "json": line}

    @property
    def digits(self) -> Digits:
        """The handwriting."""
        return load_digits(self.config.digits, self._digits_source)

    def _text(self, scene: Scene, split: Split, index: int) -> dict[str, bytes]:
        rng, query_rng = (self.config.rng(split, index, s) for s in (TEXT, QUERY_TEXT))
        asked = query(scene.factors, scene.query_text, scene.language, query_rng)
        return {
            "txt": caption(scene.factors, scene.language, rng).encode(),
            "query.txt": asked.encode(),
        }

    def _seen(self, scene: Scene, split: Split, index: int) -> dict:
        factors, digits = scene.factors, self.digits
        instances = digits.instances(split, factors.digit)
        rng = self.config.rng(split, index, IMAGE)
        look = draw_look(instances, factors.colour, rng)
        image = render_image(digits.images[look.instance], look, factors.size, rng)
        rng = self.config.rng(split, index, VIDEO)
        moving = draw_look(instances, factors.colour, rng)
        scan = digits.images[moving.instance]
        video = render_video(scan, moving, factors.size, factors.motion, rng)
        return {
            "png": _encode_png(image),
            **self._drawn(scene, split, index),
            "video.npy": _encode_npy(video),
            "facts": {"image_instance": look.instance, "video_instance": moving.instance},
        }

    def _drawn(self, scene: Scene, split: Split, index: int) -> dict[str, bytes]:
        """Draw the scene as a visitor would, for the image tower to learn from."""
        if split != "train":
            return {}
        factors, digits = scene.factors, self.digits
        rng = self.config.rng(split, index, DRAWN)
        look = draw_look(digits.instances(split, factors.digit), factors.colour, rng)
        scan = digits.images[look.instance]
        if rng.random() < HANDS_SHARE:
            hands = load_handwriting()
            scan = hands.images[rng.choice(hands.instances("train", factors.digit))]
        ink = draw_line(scan, factors.digit, height_of(factors.size), PIXELS - 8.0, rng)
        return {"drawn.png": _encode_png(render_ink(ink, look, rng))}

    def _heard(self, scene: Scene, split: Split, index: int) -> dict:
        if self.speech is None:
            return {"facts": {}}
        rng, query_rng = (self.config.rng(split, index, s) for s in (AUDIO, QUERY_AUDIO))
        size, digit = scene.factors.size, scene.factors.digit
        if isinstance(self.speech, Recordings):
            wave, voice = self.speech.utter(split, digit, rng)
            asked, asked_voice = self.speech.utter(split, digit, query_rng)
            mentions = ("digit",)
        else:
            wave, voice = (
                self.speech.utter(scene.spoken, size, rng),
                self.speech.voice(scene.spoken),
            )
            asked = self.speech.utter(scene.spoken_query, size, query_rng)
            asked_voice, mentions = self.speech.voice(scene.spoken_query), scene.query_audio
        facts = {"voice": voice, "query_voice": asked_voice, "query_audio": mentions}
        return {"flac": encode_flac(wave), "query.flac": encode_flac(asked), "facts": facts}


def _encode_png(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _encode_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
