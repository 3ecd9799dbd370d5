"""Sounds from shards."""

from functools import cached_property
from typing import Any, ClassVar

from audio.mel import MelConfig
from audio.model import AudioConfig
from audio.vocoder import VocoderConfig
from core.data import ShardData
from core.members import decode_flac, fit_length
from core.samples import Fields
from core.signal_sizes import (
    Sound,
    open_training,
    set_from_data,
    sound_asked_for,
    sound_of,
    sound_size,
)


class AudioData(ShardData):
    """Batches with `audio`: Float[B S] in [-1, 1], padded with silence or cut to one length."""

    members: ClassVar = {"audio": "flac"}
    embedding: ClassVar = "audio.npy"

    def __init__(
        self, root: str, rate: int | None = None, seconds: float | None = None, **kwargs: Any
    ):
        """Take shards at `root`.

        Args:
            root: Folder that holds a folder of shards for each split.
            rate: Hz that the shards must have; None takes theirs.
            seconds: Length of every sound; None takes that of the shards.
            **kwargs: As for `ShardData`.
        """
        super().__init__(root, **kwargs)
        self.asked = (rate, seconds)

    @classmethod
    def link(cls, config: Any) -> None:
        """Set the model's rate, spectra and length to those of the data."""
        super().link(config)
        reader, data = open_training(config), config.data
        found = sound_size(reader)
        if found is None:
            return
        sound = sound_asked_for(found, data.rate, data.seconds)
        data.rate, data.seconds = sound.rate, sound.length / sound.rate
        told = f"the sounds in {reader.folder} have"
        if "mel" in config.model:  # of a vocoder
            link_spectra(config.model.mel, sound.rate, told)
            link_vocoder(config.model.model, config.model.mel)
        else:
            model = config.model.model
            set_from_data(model, AudioConfig(), told, samples=sound.length)
            link_spectra(model.mel, sound.rate, told)
            link_vocoder(model.vocoder, model.mel)

    @cached_property
    def sound(self) -> Sound:
        """Rate and length of every sound."""
        return sound_of(self.root, self.splits["train"], self.remote, *self.asked)

    def decode(self, members: dict[str, bytes]) -> Fields:
        """Decode a sound."""
        rate, length = self.sound
        return {"audio": fit_length(decode_flac(members["flac"], rate), length)}


def link_spectra(mel: Any, rate: int, told: str) -> None:
    """Set a configuration of spectra to a rate: hop and window last as long as at any other."""
    default, scaled = MelConfig(), MelConfig.at(rate)
    set_from_data(mel, default, f"{told} a rate of", rate=rate)
    for name in ("hop", "window"):
        if mel[name] == getattr(default, name):
            mel[name] = getattr(scaled, name)


def link_vocoder(vocoder: Any, mel: Any) -> None:
    """Set a vocoder's hop and window to those of the spectra that it reads."""
    default = VocoderConfig()
    for name, value in (("hop", mel.hop // 4), ("window", mel.window // 2)):
        if vocoder[name] == getattr(default, name):
            vocoder[name] = value
