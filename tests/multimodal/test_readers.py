"""Readers learn, are read back, and say nothing about what cannot be read."""

import math

import pytest
import torch
from safetensors.torch import save_file

from multimodal.factors import COLOURS, MOTIONS
from multimodal.reader_inputs import augment_contrast, augment_spectrogram, level, spectrogram
from multimodal.reader_training import ReaderTraining, fit, train_readers
from multimodal.readers import NETS, AudioReader, ImageReader, TextReader, VideoReader, load_readers


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def bars():
    """Pictures of an upright or a lying white bar on black, at random places."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.full((32, 3, 32, 32), -1.0)
    for number, picture in enumerate(pictures):
        y, x = torch.randint(6, 14, (2,), generator=generator).tolist()
        tall, wide = (14, 4) if number % 2 else (4, 14)
        picture[:, y : y + tall, x : x + wide] = 1.0
    return pictures, torch.arange(32) % 2


def test_text_is_read_exactly_or_not_at_all():
    read = TextReader().predict(["a big red seven moves left", "a big red seven", ""])
    assert read["digit"].tolist() == [7, -1, -1]
    assert read["colour"].tolist() == [COLOURS.index("red"), -1, -1]
    assert read["motion"].tolist() == [MOTIONS.index("left"), -1, -1]
    sizes = TextReader().size(["a big red seven moves left", "a tiny red seven moves left", "?"])
    assert sizes.tolist()[:2] == [2.0, 0.0]
    assert math.isnan(sizes[2])


def test_an_image_reader_tells_upright_bars_from_lying_ones(bars):
    pictures, labels = bars
    torch.manual_seed(0)
    reader = ImageReader()
    fit(reader, pictures, {"digit": labels}, ReaderTraining(steps=90, batch=16), 0, "")
    assert torch.equal(reader.predict(pictures)["digit"], labels)
    assert (reader.predict(pictures)["colour"] == COLOURS.index("white")).all()


def test_shuffled_labels_teach_nothing(bars, generator):
    pictures, labels = bars
    torch.manual_seed(0)
    reader = ImageReader()
    shuffled = labels[torch.randperm(len(labels), generator=generator)]
    fit(reader, pictures[:16], {"digit": shuffled[:16]}, ReaderTraining(steps=30, batch=16), 0, "")
    right = (reader.predict(pictures[16:])["digit"] == labels[16:]).float().mean()
    assert 0.1 <= float(right) <= 0.9


def test_a_clip_reads_the_same_in_any_order_of_its_frames(generator):
    clip = torch.rand(2, 4, 3, 32, 32, generator=generator) * 2 - 1
    reader = VideoReader().eval()
    shuffled = clip[:, torch.randperm(4, generator=generator)]
    assert torch.allclose(reader.features(clip), reader.features(shuffled), atol=1e-5)


def test_loudness_does_not_matter_to_the_ear(generator):
    sound = torch.randn(2, 10400, generator=generator) * 0.1
    assert torch.allclose(spectrogram(sound), spectrogram(sound * 3), atol=1e-3)


def test_a_steady_colouring_does_not_matter_to_the_ear(generator):
    heard = -4 * torch.rand(2, 65, 105, generator=generator)
    microphone = torch.randn(2, 65, 1, generator=generator)
    microphone -= microphone.mean(1, keepdim=True)  # as loud on the whole
    assert torch.allclose(level(heard), level(heard + microphone), atol=1e-4)


def test_augmentation_depends_on_its_generator_alone(generator):
    plane = torch.rand(3, 32, 32, generator=generator)
    heard = -4 * torch.rand(3, 65, 105, generator=generator)
    for augment, signal in ((augment_contrast, plane), (augment_spectrogram, heard)):
        first, again = (augment(signal, torch.Generator().manual_seed(5)) for _ in range(2))
        assert torch.equal(first, again)
        assert first.shape == signal.shape
        assert not torch.equal(first, signal)


def test_silence_has_no_size_but_a_reading():
    reader = AudioReader()
    assert reader.size(torch.zeros(2, 10400)).isnan().all()
    assert reader.predict(torch.zeros(2, 10400))["colour"].shape == (2,)


@pytest.mark.parametrize("kind", NETS.values())
def test_features_have_unit_length_and_do_not_depend_on_the_batch(kind, generator):
    shape = {ImageReader: (3, 32, 32), VideoReader: (4, 3, 32, 32), AudioReader: (10400,)}[kind]
    signal = torch.rand(5, *shape, generator=generator) * 2 - 1
    reader = kind()
    features = reader.features(signal)
    assert torch.allclose(features[:2], reader.features(signal[:2]), atol=1e-4)
    assert torch.allclose(features.norm(dim=-1), torch.ones(5), atol=1e-5)


def test_missing_readers_say_how_to_train_them(tmp_path):
    with pytest.raises(ValueError, match=r"python -m multimodal\.readers"):
        load_readers(tmp_path)


@pytest.mark.parametrize("damage", ["damaged", "of another version"])
def test_readers_that_do_not_fit_say_so(tmp_path, damage):
    path = tmp_path / "image.safetensors"
    if damage == "damaged":
        path.write_bytes(b"\x00" * 64)
    else:
        save_file({"net.weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"image\.safetensors holds no reader of this version"):
        load_readers(tmp_path)


def test_no_steps_is_refused(tmp_path):
    with pytest.raises(ValueError, match="steps is 0 but must be positive"):
        train_readers(tmp_path, tmp_path, steps=0)
