"""Files as cameras and recorders leave them: written by Pillow, soundfile and PyAV alone."""

import json
from pathlib import Path
from pydoc_data.topics import topics

import av
import numpy as np
import soundfile
from PIL import Image, ImageDraw

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COLOURS = ("red", "green", "blue", "orange", "purple")


def picture(path: Path, size: tuple[int, int], colour: str, number: str) -> None:
    """Save a picture with a word on it, in the format that its suffix names."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((size[0] // 4, size[1] // 4), number, fill=colour)
    image.save(path)


def sound(path: Path, seconds: float, rate: int, pitch: float) -> None:
    """Write a stereo tone that swells and fades."""
    times = np.arange(int(seconds * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * pitch * times) * np.hanning(len(times))
    soundfile.write(path, np.stack([tone, 0.5 * tone], axis=1), rate)


def clip(path: Path, frames: int, colour: tuple[int, int, int]) -> None:
    """Write a clip in which a square moves to the right, as MPEG-4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(frames):
            pixels = np.full((64, 96, 3), 255, np.uint8)
            pixels[20:40, 4 * index : 4 * index + 20] = colour
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def write_own_files(folder: Path) -> Path:
    """Write ten numbers as pictures, sounds, clips and captions, and prose: the Python manual's."""
    folder.mkdir()
    for n, number in enumerate(NUMBERS):
        colour = COLOURS[n % len(COLOURS)]
        suffix = (".png", ".jpg", ".webp")[n % 3]
        picture(folder / f"{number}{suffix}", (200 + 10 * n, 150), colour, number)
        sound(folder / f"{number}{('.wav', '.flac', '.ogg')[n % 3]}", 0.8, 44_100, 200.0 + 30 * n)
        clip(folder / f"{number}.mp4", 12, (20 * n, 80, 160))
        caption = f"a picture of a {colour} {number}, which somebody has drawn\n"
        (folder / f"{number}.txt").write_text(caption)
    prose = (topics[name] for name in ("assert", "class", "function", "with"))
    (folder / "input.txt").write_text("\n\n".join(prose), encoding="utf-8")
    (folder / "four.txt").write_text(topics["import"], encoding="utf-8")
    shown = {"digit": 3, "colour": "orange"}
    (folder / "labels.json").write_text(json.dumps({"three.png": shown}))
    return folder
