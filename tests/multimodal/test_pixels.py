"""Plain code reads back what the world drew."""

import numpy as np
import pytest
import torch
from einops import rearrange

from multimodal import pixels
from multimodal.digits import load_digits
from multimodal.drawing import draw_look, height_of, render_image, render_video
from multimodal.factors import COLOUR_RGB, COLOURS, MOTIONS
from multimodal.metrics import rank_correlation

COUNT = 400


@pytest.fixture(scope="module")
def drawn():
    """Pictures and clips of random digits, with the factors that they were drawn from."""
    rng = np.random.default_rng(0)
    digits = load_digits("sklearn")
    images, clips, colours, motions, sizes = [], [], [], [], []
    for _ in range(COUNT):
        colour, motion, size = rng.integers(8), rng.integers(5), rng.random()
        instances = digits.instances("test", int(rng.integers(10)))
        look = draw_look(instances, COLOURS[colour], rng)
        scan = digits.images[look.instance]
        images.append(render_image(scan, look, size, rng))
        clips.append(render_video(scan, look, size, MOTIONS[motion], rng))
        colours.append(colour), motions.append(motion), sizes.append(size)
    return {
        "image": rearrange(_signal(images), "B H W C -> B C H W"),
        "video": rearrange(_signal(clips), "B F H W C -> B F C H W"),
        "colour": torch.tensor(colours),
        "motion": torch.tensor(motions),
        "size": torch.tensor(sizes),
    }


def _signal(frames):
    return torch.from_numpy(np.stack(frames)).float() / 127.5 - 1


def _share(read, truth):
    return float((read == truth).float().mean())


def test_colour_and_motion_are_read_as_drawn(drawn):
    assert _share(pixels.colour(drawn["image"]), drawn["colour"]) >= 0.99
    assert _share(pixels.clip_colour(drawn["video"]), drawn["colour"]) >= 0.99
    assert _share(pixels.motion(drawn["video"]), drawn["motion"]) >= 0.99


def test_colour_and_motion_survive_noise(drawn):
    generator = torch.Generator().manual_seed(0)
    for name, read in (("image", pixels.colour), ("video", pixels.clip_colour)):
        noisy = drawn[name] + 0.1 * torch.randn(drawn[name].shape, generator=generator)
        assert _share(read(noisy), drawn["colour"]) >= 0.98
    assert _share(pixels.motion(noisy), drawn["motion"]) >= 0.98


def test_height_is_that_of_the_ink(drawn):
    height = pixels.look(drawn["image"]).height
    expected = torch.tensor([height_of(float(size)) for size in drawn["size"]])
    assert float((height - expected).abs().mean()) < 1.0
    assert rank_correlation(height, drawn["size"]) > 0.98
    assert rank_correlation(pixels.clip_height(drawn["video"]), drawn["size"]) > 0.98


def test_a_reversed_clip_moves_the_other_way(drawn):
    opposite = {"still": "still", "left": "right", "right": "left", "up": "down", "down": "up"}
    expected = [opposite[MOTIONS[motion]] for motion in drawn["motion"]]
    read = [MOTIONS[motion] for motion in pixels.motion(drawn["video"].flip(1))]
    assert read == expected


def test_every_colour_of_the_world_is_named_as_itself():
    inks = torch.tensor([COLOUR_RGB[colour] for colour in COLOURS]) / 255
    assert pixels.name_colour(inks).tolist() == list(range(len(COLOURS)))


def test_a_colour_beyond_the_palette_takes_the_nearest_hue():
    orange, olive, grey, navy = [1.0, 0.3, 0.0], [0.5, 0.45, 0.0], [0.7, 0.7, 0.7], [0.1, 0.1, 0.6]
    named = pixels.name_colour(torch.tensor([orange, olive, grey, navy]))
    assert [COLOURS[i] for i in named] == ["red", "yellow", "white", "blue"]


def test_an_empty_picture_has_no_colour():
    assert pixels.colour(torch.full((1, 3, 32, 32), 0.3)).tolist() == [-1]
