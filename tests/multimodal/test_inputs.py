"""Claims about inputs as notebooks hold them: each form says the same as the file."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from einops import rearrange
from PIL import Image

from core.errors import UserError
from core.pictures import to_pillow
from image.files import read_image
from multimodal.inputs import split_inputs, to_signal

SIZES = {
    "text": {},
    "image": {"size": 32},
    "audio": {"rate": 8_000, "samples": 10_400},
    "video": {"size": 32, "frames": 4},
}
RATE = 16_000


def read(modality, value):
    return to_signal(modality, value, **SIZES[modality])


def refusal(modality, value):
    with pytest.raises(UserError) as refused:
        read(modality, value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def stroke(width=50, height=40):
    """Return a coloured stroke on white, [H W 3] uint8."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[10:30, 20:26] = (200, 30, 0)
    return pixels


def tone(seconds=0.5):
    times = np.arange(int(RATE * seconds)) / RATE
    return (0.4 * np.sin(2 * np.pi * 440 * times) * (1 + times)).astype(np.float32)


def clip(frames=6):
    """Return a stroke that moves to the right, [F H W 3] uint8."""
    return np.stack([np.roll(stroke(), 3 * number, axis=1) for number in range(frames)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A picture and a recording on the disk."""
    folder = tmp_path_factory.mktemp("files")
    Image.fromarray(stroke()).save(folder / "stroke.png")
    soundfile.write(folder / "tone.wav", tone(), RATE, subtype="FLOAT")
    (folder / "words.txt").write_text("a  red\nséven", encoding="utf-8")
    return folder


class Foreign:
    """An array of a library that NumPy knows by its protocol only."""

    def __init__(self, array):
        self.array, self.ndim, self.shape = array, array.ndim, array.shape

    def __array__(self, dtype=None, copy=None):
        return self.array


def chw(pixels):
    return rearrange(pixels, "h w c -> c h w")


def unit(pixels):
    return pixels.astype(np.float32) / 255


def with_alpha(pixels):
    """White becomes transparent black."""
    ink = (pixels != 255).any(-1, keepdims=True)
    return np.concatenate([np.where(ink, pixels, 0), ink * 255], -1).astype(np.uint8)


PICTURES = {
    "uint8": lambda x: x,
    "channels first": chw,
    "batch of one": lambda x: x[None],
    "floats to 1": unit,
    "float64": lambda x: x / 255,
    "float16": lambda x: unit(x).astype(np.float16),
    "floats to 255": lambda x: x.astype(np.float32),
    "floats from -1": lambda x: unit(x) * 2 - 1,
    "a little beyond": lambda x: unit(x) * 2.02 - 1.01,
    "int64": lambda x: x.astype(np.int64),
    "uint16": lambda x: x.astype(np.uint16) * 257,
    "big endian": lambda x: unit(x).astype(">f4"),
    "turned twice": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "RGBA": with_alpha,
    "RGBA floats": lambda x: unit(with_alpha(x)),
    "tensor": lambda x: torch.tensor(x),
    "ToTensor": lambda x: chw(torch.tensor(x)).float() / 255,
    "bfloat16": lambda x: (chw(torch.tensor(x)).float() / 255).bfloat16(),
    "with gradient": lambda x: torch.tensor(unit(x), requires_grad=True),
    "nested lists": lambda x: x.tolist(),
    "another library": Foreign,
    "Pillow": Image.fromarray,
    "Pillow RGBA": lambda x: Image.fromarray(with_alpha(x), "RGBA"),
    "Pillow RGBa": lambda x: Image.fromarray(with_alpha(x), "RGBA").convert("RGBa"),
    "Pillow CMYK": lambda x: Image.fromarray(x).convert("CMYK"),
    "Pillow YCbCr": lambda x: Image.fromarray(x).convert("YCbCr"),
    "Pillow HSV": lambda x: Image.fromarray(x).convert("HSV"),
    "Pillow P": lambda x: Image.fromarray(x).convert("P", palette=Image.Palette.ADAPTIVE),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("form", PICTURES)
def test_a_picture_in_memory_says_what_its_file_says(files, form):
    expected = read("image", files / "stroke.png")
    found = read("image", PICTURES[form](stroke()))
    assert found.shape == (3, 32, 32)
    loose = form in ("bfloat16", "Pillow YCbCr", "Pillow HSV", "a little beyond")
    torch.testing.assert_close(found, expected, atol=0.05 if loose else 0.01, rtol=0)


GREYS = {
    "two axes": lambda x: x,
    "last axis of one": lambda x: x[..., None],
    "first axis of one": lambda x: x[None],
    "floats": lambda x: x / 255,
    "bool": lambda x: x > 127,
    "uint8 and alpha": lambda x: np.stack([x, np.full_like(x, 255)], -1),
    "Pillow L": Image.fromarray,
    "Pillow LA": lambda x: Image.fromarray(x).convert("LA"),
    "Pillow La": lambda x: Image.fromarray(x).convert("LA").convert("La"),
    "Pillow PA": lambda x: Image.fromarray(x).convert("P").convert("PA"),
    "Pillow 1": lambda x: Image.fromarray(x).convert("1"),
    "Pillow I": lambda x: Image.fromarray(x.astype(np.int32)),
    "Pillow I of 16 bits": lambda x: Image.fromarray(x.astype(np.int32) * 257),
    "Pillow I;16": lambda x: Image.fromarray(x.astype(np.uint16) * 257),
    "Pillow F": lambda x: Image.fromarray(x.astype(np.float32)),
    "Pillow F to 1": lambda x: Image.fromarray(x.astype(np.float32) / 255),
}


@pytest.mark.parametrize("form", GREYS)
def test_a_grey_picture_is_grey_in_all_channels(form):
    grey = np.where(stroke()[..., 1] == 255, 255, 0).astype(np.uint8)
    expected = read("image", np.repeat(grey[..., None], 3, -1))
    torch.testing.assert_close(read("image", GREYS[form](grey)), expected, atol=1e-5, rtol=0)


def test_a_black_picture_is_black_in_every_type():
    black = np.zeros((16, 16, 3))
    for dtype in (np.uint8, np.uint16, np.float32, bool):
        assert (read("image", black.astype(dtype)) == -1).all()


def test_what_was_made_goes_in_again_as_it_is():
    made = torch.linspace(-1, 1, 3 * 32 * 32).reshape(3, 32, 32)
    assert torch.equal(read("image", made), made)
    assert torch.equal(read("image", made[None]), made)
    frames = made.repeat(4, 1, 1, 1)
    assert torch.equal(read("video", frames), frames)
    wave = torch.linspace(-0.3, 0.3, 10_400)
    assert torch.equal(read("audio", wave), wave)
    assert torch.equal(read("audio", wave[None].numpy()), wave)


def test_a_picture_of_many_pixels_is_reduced_as_its_file_is(tmp_path):
    pixels = np.kron(stroke(), np.ones((55, 55, 1), np.uint8))
    Image.fromarray(pixels).save(tmp_path / "large.png")
    expected = read_image(tmp_path / "large.png", 32)
    torch.testing.assert_close(read("image", pixels), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.full((16, 16, 3), np.nan), "from nan to nan"),
        (np.random.default_rng(0).normal(size=(16, 16, 3)) * 2, "pixels are uint8"),
        (np.linspace(-0.05, 1, 768).reshape(16, 16, 3), "is black 0 or -1?"),
        (np.linspace(0, 1.5, 768).reshape(16, 16, 3), "pixels are uint8"),
        (np.eye(16, dtype=np.uint8), "may be a mask"),
        (np.eye(16, dtype=np.uint16) * 200, "may be a mask"),
        (np.eye(16, dtype=np.int64) * 300, "from 0 to 300"),
        (np.eye(16) * 1j, "must hold numbers"),
        (np.array([["a", "b"]]), "must hold numbers"),
        (np.zeros((16, 16, 5)), "shape [16, 16, 5]"),
        (np.zeros((3, 16, 3)), "16x3 pixels"),
        (np.zeros((2, 2, 16, 16, 3)), "shape [2, 2, 16, 16, 3]"),
        (np.zeros(16), "shape [16]"),
        (np.zeros((0, 16, 3)), "holds nothing"),
        ([[1, 2], [3]], "is no array"),
        (Image.new("RGB", (4, 4)), "4x4 pixels"),
        (7, "image is a int but must be a path, bytes, an open file, a Pillow picture"),
        (b"no picture", "the image is no picture"),
        ({"width": 3}, "dictionary of width but must have path or bytes"),
    ],
)
def test_a_picture_that_is_none_or_unclear_is_one_line(value, told):
    assert told in refusal("image", value)


def test_a_closed_picture_or_file_is_one_line(files, tmp_path):
    with Image.open(files / "stroke.png") as image:
        pass
    assert "open it again" in refusal("image", image)
    with (files / "stroke.png").open("rb") as file:
        pass
    assert "stroke.png cannot be read" in refusal("image", file)
    with (files / "stroke.png").open(encoding="utf-8") as file:
        assert "mode 'rb'" in refusal("image", file)


FORMS = {
    "a string": str,
    "a path": Path,
    "another path": lambda path: _Fs(path),
    "bytes": Path.read_bytes,
    "a byte array": lambda path: bytearray(path.read_bytes()),
    "a view": lambda path: memoryview(path.read_bytes()),
    "an open file": lambda path: path.open("rb"),
    "a buffer": lambda path: io.BytesIO(path.read_bytes()),
    "a dictionary with bytes": lambda path: {"bytes": path.read_bytes(), "path": None},
    "a dictionary with a path": lambda path: {"bytes": None, "path": str(path)},
}


class _Fs:
    """A path of a library of its own."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


@pytest.mark.parametrize("form", FORMS)
def test_files_come_as_paths_bytes_and_open_files(files, form):
    for modality, name in (("image", "stroke.png"), ("audio", "tone.wav"), ("text", "words.txt")):
        expected, found = read(modality, files / name), read(modality, FORMS[form](files / name))
        assert found == expected if modality == "text" else torch.equal(found, expected)


def test_a_text_in_memory_is_a_text_whatever_it_looks_like():
    assert read("text", b"seven.txt") == "seven.txt"
    assert read("text", io.StringIO("a red  seven")) == "a red seven"
    assert read("text", np.str_("seven")) == "seven"
    assert "not UTF-8" in refusal("text", b"s\xe9ven")
    assert "text is a int but must be a string" in refusal("text", 7)


SOUNDS = {
    "scipy and Gradio": lambda x: (RATE, x),
    "librosa": lambda x: (x, RATE),
    "a list of both": lambda x: [RATE, x],
    "soundfile, stereo": lambda x: (np.stack([x, x], 1), RATE),
    "torchaudio, stereo": lambda x: (torch.tensor(np.stack([x, x])), RATE),
    "torchaudio, mono": lambda x: (torch.tensor(x[None]), RATE),
    "a batch of one": lambda x: (torch.tensor(x[None, None]), RATE),
    "a column": lambda x: (x[:, None], RATE),
    "NumPy's rate": lambda x: (np.int64(RATE), x),
    "a tensor's rate": lambda x: (torch.tensor(RATE), x),
    "a float rate": lambda x: (float(RATE), x),
    "float64": lambda x: (RATE, x.astype(np.float64)),
    "lists": lambda x: (RATE, x.tolist()),
    "datasets": lambda x: {"path": None, "array": x, "sampling_rate": RATE},
    "transformers": lambda x: {"raw": x, "sampling_rate": RATE},
    "a pipeline's": lambda x: {"audio": x[None], "sampling_rate": RATE},
    "torchcodec": lambda x: _Decoder(x),
    "int16": lambda x: (RATE, (x * 32767).astype(np.int16)),
    "int32": lambda x: (RATE, (x * (2**31 - 1)).astype(np.int32)),
    "uint8": lambda x: (RATE, (x * 127 + 128).round().astype(np.uint8)),
    "floats of full scale": lambda x: (RATE, x * 32767),
}


class _Decoder:
    """As torchcodec's AudioDecoder."""

    def __init__(self, wave):
        self.data, self.sample_rate = torch.tensor(wave[None]), RATE

    def get_all_samples(self):
        return self


@pytest.mark.parametrize("form", SOUNDS)
def test_a_sound_in_memory_says_what_its_file_says(files, form):
    expected = read("audio", files / "tone.wav")
    found = read("audio", SOUNDS[form](tone()))
    atol = 0.02 if form == "uint8" else 1e-4
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (tone(), "shape [8000] without its rate; give (rate, samples)"),
        (torch.tensor(tone()), "without its rate"),
        ([0.1, 0.2, 0.3], "without its rate"),
        ({"array": tone()}, "without its rate"),
        ((0, tone()), "the audio's rate is 0"),
        ((8_000.5, tone()), "the audio's rate is 8000.5"),
        ((True, tone()), "the audio's rate is True"),
        ((RATE, tone().astype(np.int64)), "int64 samples"),
        ((RATE, np.zeros(8_000)), "the audio is silent"),
        ((RATE, np.full(8_000, np.nan)), "no numbers"),
        ((RATE, np.ones(9)), "the audio lasts 0.001 s"),
        ((RATE, np.zeros((40, 50))), "shape [50, 40]"),
        ((RATE, "tone.wav"), "must hold numbers"),
        ({"sampling_rate": RATE}, "must have path or bytes, or array and sampling_rate"),
        (None, "audio is a NoneType"),
    ],
)
def test_a_sound_that_is_none_or_unclear_is_one_line(value, told):
    assert told in refusal("audio", value)


def test_a_sound_that_is_cut_is_called_by_its_name():
    with pytest.warns(UserWarning, match=r"^the audio holds 3.0 s of sound") as caught:
        read("audio", (RATE, np.tile(tone(), 6)))
    assert len(caught) == 1


CLIPS = {
    "channels first": lambda x: rearrange(x, "f h w c -> f c h w"),
    "channels before frames": lambda x: rearrange(x, "f h w c -> c f h w"),
    "a batch of one": lambda x: x[None],
    "floats": unit,
    "a tensor from -1": lambda x: torch.tensor(unit(x)) * 2 - 1,
    "RGBA": lambda x: np.concatenate([x, np.full_like(x[..., :1], 255)], -1),
    "a list of arrays": list,
    "a tuple of tensors": lambda x: tuple(chw(torch.tensor(frame)) for frame in x),
    "a list of Pillow pictures": lambda x: [Image.fromarray(frame) for frame in x],
    "of both": lambda x: [Image.fromarray(x[0]), *x[1:]],
    "an animation": lambda x: _animation(x),
}


def _animation(frames):
    first, *rest = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=rest, lossless=True)
    return Image.open(file)


@pytest.mark.parametrize("form", CLIPS)
def test_a_clip_in_memory_is_the_same_in_every_form(form):
    expected = read("video", clip())
    assert expected.shape == (4, 3, 32, 32)
    torch.testing.assert_close(read("video", CLIPS[form](clip())), expected, atol=0.01, rtol=0)


def test_frames_of_a_clip_are_picked_evenly_and_cut_alike():
    frames = [Image.fromarray(frame) for frame in clip(10)]
    assert torch.equal(read("video", frames), read("video", [frames[i] for i in (0, 3, 6, 9)]))


def test_a_dark_frame_of_a_float_clip_stays_dark():
    frames = np.zeros((4, 32, 32, 3), np.float32)
    frames[0] = 200.0
    frames[1] = 0.8
    assert read("video", frames)[1].max() < -0.9
    assert read("video", list(frames))[1].max() < -0.9


def test_grey_frames_are_a_clip():
    assert torch.equal(read("video", clip()[..., 1]), read("video", clip()[..., 1:2]))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (stroke(), "give a still picture as an image"),
        (chw(stroke()), "give a still picture as an image"),
        (Image.fromarray(stroke()), "holds 1 frames"),
        (clip(1), "holds 1 frames"),
        ([Image.fromarray(stroke())], "holds 1 frames"),
        ([Image.fromarray(stroke()), Image.fromarray(stroke(60))], "50x40 and 60x40 pixels"),
        (np.zeros((9, 16, 16, 7)), "shape [9, 16, 16, 7]"),
        (3.5, "video is a float but must be a path"),
    ],
)
def test_a_clip_that_is_none_is_one_line(value, told):
    assert told in refusal("video", value)


def test_lists_are_inputs_one_by_one_and_what_is_alone_goes_with_each():
    rows = split_inputs({"text": ["a", "b"], "image": stroke()})
    assert [row["text"] for row in rows] == ["a", "b"]
    assert all(row["image"].shape == stroke().shape for row in rows)
    pair = (RATE, tone())
    assert split_inputs({"audio": pair})[0]["audio"] is pair
    assert [row["audio"][0] for row in split_inputs({"audio": [pair, pair]})] == [RATE, RATE]
    assert len(split_inputs({"image": np.stack([stroke()] * 3)})) == 3
    assert len(split_inputs({"video": clip()})) == 1
    assert len(split_inputs({"video": list(clip())})) == 1
    assert len(split_inputs({"video": [clip(), clip()]})) == 2
    assert len(split_inputs({"video": ["a.mp4", "b.mp4"]})) == 2
    assert len(split_inputs({"text": np.array(["a", "b"])})) == 2
    assert len(split_inputs({"text": (word for word in "ab")})) == 2
    assert len(split_inputs({"audio": torch.zeros(2, 10_400)}, 10_400)) == 2
    assert len(split_inputs({})) == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"text": ["a", "b"], "image": [stroke()] * 3}, "2 of text, 3 of image"),
        ({"text": []}, "text is an empty list"),
    ],
)
def test_lists_that_do_not_fit_together_are_one_line(given, told):
    with pytest.raises(UserError, match=told):
        split_inputs(given)


def test_a_written_picture_comes_back_the_same_from_memory():
    made = read("image", stroke())
    torch.testing.assert_close(read("image", to_pillow(made, 8)), made, atol=0.01, rtol=0)
