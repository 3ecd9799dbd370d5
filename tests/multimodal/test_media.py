from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

import image.shards
import video.shards
from multimodal.folder_shards import modality_of
from multimodal.media import MEDIA, SUFFIXES, UNREAD
from text.files import read_text

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG",
            ".webp": "WEBP"}  # fmt: skip
SOUNDS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG",
          ".mp3": "MP3"}  # fmt: skip
FILMS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


def draw(path: Path) -> None:
    Image.new("RGB", (32, 32), "red").save(path, PICTURES[path.suffix.lower()])


def record(path: Path) -> None:
    wave = 0.3 * np.sin(np.arange(8000) / 5)
    subtype = "OPUS" if path.suffix.lower() == ".opus" else None
    soundfile.write(path, wave, 8000, format=SOUNDS[path.suffix.lower()], subtype=subtype)


def film(path: Path) -> None:
    kind = FILMS[path.suffix.lower()]
    with av.open(str(path), "w", format=kind) as container:
        codec = "libvpx-vp9" if kind == "webm" else "libx264"
        stream = container.add_stream(codec, rate=Fraction(4))
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for shade in (0, 80, 160, 240):
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 32), (shade, shade, shade)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


WRITERS = {
    **dict.fromkeys(PICTURES, ("image", draw)),
    **dict.fromkeys(SOUNDS, ("audio", record)),
    **dict.fromkeys(FILMS, ("video", film)),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_files_under_all_usual_suffixes_are_found_and_read_in_letters_of_either_size(
    tmp_path, suffix
):
    modality, write = WRITERS[suffix]
    for name in (f"small{suffix}", f"LARGE{suffix.upper()}"):
        write(tmp_path / name)
        assert modality_of(tmp_path / name) == modality
        assert MEDIA[modality].read(tmp_path / name).abs().max() > 0.1


def test_builders_and_generation_take_the_same_suffixes():
    assert MEDIA["image"].suffixes == image.shards.SUFFIXES
    assert MEDIA["video"].suffixes == video.shards.SUFFIXES
    assert set(SUFFIXES) == set().union(*(medium.suffixes for medium in MEDIA.values()))
    assert not UNREAD & set(SUFFIXES)


@pytest.mark.parametrize("name", ["caption.txt", "CAPTION.TXT", "caption.Txt", "a.caption"])
def test_a_caption_is_read_from_a_file_however_its_suffix_is_written(tmp_path, name):
    (tmp_path / name).write_text("a red seven")
    assert read_text(str(tmp_path / name)) == read_text(tmp_path / name) == "a red seven"


@pytest.mark.parametrize("name", ["notes.md", "CAPTION.DOC", "seven.png"])
def test_another_kind_of_file_is_not_taken_for_the_words_of_a_caption(tmp_path, name):
    (tmp_path / name).write_text("a red seven")
    with pytest.raises(ValueError, match=r"is a file, but texts are read from .*\.txt"):
        read_text(str(tmp_path / name))


def test_words_with_dots_are_words():
    for words in ("draw v1.5", "e.g. a seven", "a.b", "..", ".txt. seven " * 60):
        assert read_text(words) == words.strip()
