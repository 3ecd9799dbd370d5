"""Write the world as shards: plan, speak a bank once, then draw samples in several processes."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

from core.devices import usable_cores
from core.files import new_folder
from core.manifest import Manifest
from core.shards import check_absent, write_shards
from multimodal.digits import load_digits
from multimodal.drawing import GROWTH, SMALLEST
from multimodal.factors import COLOURS, MOTIONS, SIZES, SPLITS, Split
from multimodal.recordings import Recordings
from multimodal.speech import (
    HIGHEST_HZ,
    LOWEST_HZ,
    Bank,
    check_espeak,
)
from multimodal.voices import VARIANTS
from multimodal.world import World, WorldConfig, draw_scene, members

CHUNK = 50
"""Samples a task."""

_world: World
"""Of a worker process; set once when it starts."""


def build_world(
    config: WorldConfig,
    out: Path,
    *,
    digits_source: Path | None = None,
    speech_source: Path | None = None,
    workers: int | None = None,
) -> dict[Split, Manifest]:
    """Write all splits below `out`, which appears whole or not at all.

    The bytes do not depend on `workers`, the processes; None is one for each core at our disposal.
    """
    check_absent(out)
    load_digits(config.digits, digits_source)  # before the fork, so that all share it
    processes = workers or usable_cores()
    with ExitStack() as stack:
        bank_folder = Path(stack.enter_context(TemporaryDirectory(prefix="world")))
        speech = _open_speech(config, speech_source, bank_folder, processes)
        world = World(config, speech, digits_source)
        folder = stack.enter_context(new_folder(out))
        pool = stack.enter_context(Pool(processes, _start, (world,)))
        return {split: _write(world, split, folder / split, pool) for split in SPLITS}


def _open_speech(
    config: WorldConfig, source: Path | None, folder: Path, processes: int
) -> Bank | Recordings | None:
    if config.speech == "none":
        return None
    if config.speech == "fsdd":
        return Recordings.find(source, config.fold)
    check_espeak()
    scenes = (
        draw_scene(config, split, index)
        for split in SPLITS
        for index in range(config.samples(split))
    )
    entries = {entry for scene in scenes for entry in (scene.spoken, scene.spoken_query)}
    with multiprocessing.Pool(processes) as pool:
        return Bank.build(entries, config.seed, folder, _with_progress(pool.imap, "voices"))


def _with_progress(imap: Callable[..., Iterator], title: str) -> Callable[..., Iterator]:
    from rich.console import Console
    from rich.progress import track

    def tracked(function: Callable, tasks: list) -> Iterator:
        done, console = imap(function, tasks), Console(stderr=True)
        return iter(track(done, title, total=len(tasks), console=console))

    return tracked


def _start(world: World) -> None:
    global _world
    _world = world


def _make(task: tuple[Split, range]) -> list[dict[str, str | bytes]]:
    split, indices = task
    return [_world.sample(split, index) for index in indices]


def _write(world: World, split: Split, out: Path, pool: Pool) -> Manifest:
    count = world.config.samples(split)
    tasks = [(split, range(count)[start : start + CHUNK]) for start in range(0, count, CHUNK)]
    chunks = _with_progress(pool.imap, split)(_make, tasks)
    return write_shards(
        out,
        (sample for chunk in chunks for sample in chunk),
        required=members(world.config.speech, split),
        source="; ".join(_sources(world)),
        licence="; ".join(_licences(world)),
        builder={"world": asdict(world.config), "split": split},
        card=_card(world, split),
    )


def _sources(world: World) -> tuple[str, ...]:
    speech = {
        "espeak": "speech by espeak-ng (espeakng-loader)",
        "fsdd": "speech of the Free Spoken Digit Dataset",
        "none": "no speech",
    }
    drawn = "drawings: after those, forms written down and MNIST"
    return world.digits.source, drawn, speech[world.config.speech]


def _licences(world: World) -> tuple[str, ...]:
    speech = {
        "espeak": "speech: spoken by a GPL-3 program, which does not bind what it says",
        "fsdd": "speech: CC BY-SA 4.0",
        "none": "speech: none",
    }
    drawn = "drawings: after MNIST, CC BY-SA 3.0"
    return f"digits: {world.digits.licence}", drawn, speech[world.config.speech]


def _card(world: World, split: Split) -> dict:
    """Return the data card of a split."""
    seen = "all" if split in ("readers", "test") else "without held-out pairs"
    block = world.digits.blocks[split]
    spoken = {"espeak": ["digit", "colour", "size (pitch)"], "fsdd": ["digit"], "none": []}
    return {
        "purpose": "paired text, image, speech and video of one digit, with exact factors",
        "factors": {
            "digit": list(range(10)),
            "colour": list(COLOURS),
            "motion": list(MOTIONS),
            "size": f"0 to 1; words {', '.join(SIZES)} by quarters",
        },
        "carries": {
            "txt": ["digit", "colour", "motion", "size (word)"],
            "png": ["digit", "colour", f"size (height: {SMALLEST:g} + {GROWTH:g} size pixels)"],
            "flac": spoken[world.config.speech],
            "video.npy": ["digit", "colour", "motion", "size (height)"],
        },
        "speech": _describe_speech(world, split),
        "private": "drawn anew for each modality: handwriting, slant, place, start, speed, ink's"
        " shade, background, voice, rate, wording",
        "combinations": f"{seen}; a fifth of the (digit, colour) and of the (digit, motion) pairs"
        " is held out of train and val by Latin squares",
        "query": "query.txt and query.flac mention the factors in query_text and query_audio; the"
        " pitch tells the size besides",
        **_drawn(split),
        "handwriting": f"scans {block.start} to {block.stop - 1} of {world.digits.source}",
        "limits": "one digit on a plain background; synthetic, flat intonation; few writers",
    }


def _drawn(split: Split) -> dict[str, str]:
    if "drawn.png" not in members("none", split):
        return {}
    return {"drawn": "drawn.png shows the same digit, colour and size, written with a round pen in"
            " another hand: for the image tower, which also sees what visitors draw"}  # fmt: skip


def _describe_speech(world: World, split: Split) -> dict:
    if world.speech is None:
        return {}
    if isinstance(world.speech, Recordings):
        return {"speakers": world.speech.speakers[split], "fold": world.config.fold}
    hertz = f"{HIGHEST_HZ:.0f} Hz at size 0 to {LOWEST_HZ:.0f} Hz at size 1, in octaves"
    return {"pitch": hertz, "voices": list(VARIANTS[split])}
