"""Which espeak-ng voices speak in which split; a variant belongs to one split only.

Left out: variants that whisper, croak, echo, sing or sound like another one (Gene2 is Gene).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from multimodal.factors import Split

ACCENTS = {
    "en": ("en-us", "en", "en-gb-x-rp", "en-029"),
    "es": ("es", "es-419"),
}
VARIANTS: dict[Split, tuple[str, ...]] = {
    "train": (
        *("m1", "m3", "m4", "m5", "m7", "f1", "f3", "f4", "Alex", "Andy", "Annie", "Diogo"),
        *("Jacky", "Lee", "Michael", "Mike", "adam", "belinda", "edward", "john", "linda"),
        *("marcelo", "max", "michel", "norbert", "paul", "rob", "steph", "victor", "klatt3"),
    ),
    "readers": (
        *("m2", "m6", "f2", "Gene", "Henrique", "Mario", "david", "ian", "miguel", "robert"),
        *("shelby", "steph2"),
    ),
    "val": ("m8", "Denis", "anika", "benjamin", "iven", "steph3", "travis", "boris"),
    "test": (
        *("f5", "Hugo", "Nguyen", "Reed", "aunty", "edward2", "mike2", "pablo", "quincy"),
        *("sandro", "iven3"),
    ),
}
PITCH_LINE = "pitch 138 150"
"""Given to every variant, so that pitch depends on the size alone, in every voice."""


def draw_voice(split: Split, language: str, rng: np.random.Generator) -> str:
    """Return accent+variant of a voice that belongs to a split."""
    variant = VARIANTS[split][rng.integers(len(VARIANTS[split]))]
    accent = ACCENTS[language][rng.integers(len(ACCENTS[language]))]
    return f"{accent}+{variant}"


@contextmanager
def levelled_voices() -> Iterator[Path]:
    """Yield a copy of espeak-ng's data (links, but for the variants) with one pitch for all."""
    import espeakng_loader

    data = Path(espeakng_loader.get_data_path())
    with TemporaryDirectory(prefix="espeak") as folder:
        copy = Path(folder, "espeak-ng-data")
        levelled = copy / "voices" / "!v"
        levelled.mkdir(parents=True)
        for entry in data.iterdir():
            if entry.name != "voices":
                (copy / entry.name).symlink_to(entry)
        for variant in (data / "voices" / "!v").iterdir():
            lines = variant.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if not line.strip().startswith("pitch")]
            text = "\n".join([*kept, PITCH_LINE, ""])
            (levelled / variant.name).write_text(text, encoding="utf-8")
        yield copy
