import os
from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
import torch
from einops import rearrange
from scipy.stats import spearmanr

from multimodal.digits import load_digits
from multimodal.drawing import (
    FRAMES,
    PIXELS,
    draw_look,
    draw_path,
    draw_stroke,
    height_of,
    render_image,
    render_video,
)
from multimodal.pixels import clip_height, colour, look, motion
from multimodal.world import (
    COLOURS,
    MOTIONS,
    SIZES,
    SPLITS,
    World,
    WorldConfig,
    draw_scene,
    held_out,
    size_word,
)

CONFIG = WorldConfig(speech="none", train=40, readers=20, val=20, test=20)
DIGITS = load_digits("sklearn")


def signal(pixels: np.ndarray) -> torch.Tensor:
    return rearrange(torch.from_numpy(pixels).float() / 127.5 - 1, "... h w c -> ... c h w")


def draw(digit: int, name: str, size: float, rng: np.random.Generator) -> np.ndarray:
    hand = draw_look(DIGITS.instances("train", digit), name, rng)
    return render_image(DIGITS.images[hand.instance], hand, size, rng)


def test_each_latin_square_holds_out_a_fifth_of_its_pairs():
    held = [
        pair for pair in product(range(10), COLOURS) if all(held_out(*pair, m) for m in MOTIONS)
    ]
    moves = [
        (digit, motion)
        for digit, motion in product(range(10), MOTIONS)
        if all(held_out(digit, name, motion) for name in COLOURS)
    ]
    assert len(held) == 16
    assert len(moves) == 10
    assert {digit for digit, _ in held} == {digit for digit, _ in moves} == set(range(10))
    assert set(Counter(name for _, name in held).values()) == {2}


def test_held_out_combinations_are_never_drawn_for_train_and_val():
    for split in SPLITS:
        factors = [draw_scene(CONFIG, split, index).factors for index in range(400)]
        held = [held_out(f.digit, f.colour, f.motion) for f in factors]
        assert any(held) == (split in ("readers", "test"))
        assert not all(held)


def test_size_words_are_the_quarters():
    assert [size_word(size) for size in (0.0, 0.26, 0.74, 1.0)] == list(SIZES)


def test_splits_share_no_handwriting():
    for one, other in combinations(SPLITS, 2):
        assert set(DIGITS.blocks[one]).isdisjoint(DIGITS.blocks[other])
    assert sum(len(DIGITS.blocks[split]) for split in SPLITS) == len(DIGITS.labels) == 1797


def test_every_digit_has_instances_of_its_own_in_every_split():
    for split, digit in product(SPLITS, range(10)):
        instances = DIGITS.instances(split, digit)
        assert set(instances) <= set(DIGITS.blocks[split])
        assert (DIGITS.labels[instances] == digit).all()


def test_colour_is_reachable_from_pixels():
    rng = np.random.default_rng(0)
    names = [COLOURS[index % 8] for index in range(400)]
    images = np.stack(
        [draw(index % 10, name, rng.random(), rng) for index, name in enumerate(names)]
    )
    read = [COLOURS[index] for index in colour(signal(images))]
    assert np.mean([a == b for a, b in zip(names, read, strict=True)]) > 0.99


def test_the_height_of_the_ink_grows_with_size():
    rng, sizes = np.random.default_rng(0), np.linspace(0, 1, 100)
    images = np.stack([draw(int(rng.integers(10)), "red", size, rng) for size in sizes])
    heights = look(signal(images)).height.numpy()
    assert spearmanr(sizes, heights).statistic > 0.98
    np.testing.assert_allclose(heights, [height_of(size) for size in sizes], atol=1.6)


def test_a_stroke_has_the_height_that_was_asked_for():
    rng = np.random.default_rng(0)
    for digit, size in product(range(10), (0.0, 0.5, 1.0)):
        hand = draw_look(DIGITS.instances("val", digit), "blue", rng)
        stroke = draw_stroke(DIGITS.images[hand.instance], hand, height_of(size))
        ink = np.asarray(stroke).max(1) > 100
        assert abs(ink.sum() / 4 - height_of(size)) < 0.8


def test_motion_and_size_are_measured_back_from_a_clip():
    rng = np.random.default_rng(0)
    names, sizes = [MOTIONS[index % 5] for index in range(100)], rng.random(100)
    clips = []
    for name, size in zip(names, sizes, strict=True):
        hand = draw_look(DIGITS.instances("train", int(rng.integers(10))), "white", rng)
        clips.append(render_video(DIGITS.images[hand.instance], hand, size, name, rng))
    clips = signal(np.stack(clips))
    assert clips.shape == (100, FRAMES, 3, PIXELS, PIXELS)
    assert [MOTIONS[index] for index in motion(clips)] == names
    assert spearmanr(sizes, clip_height(clips)).statistic > 0.98


@pytest.mark.parametrize("name", MOTIONS)
def test_a_path_stays_inside_its_room(name: str):
    rng = np.random.default_rng(0)
    for room in ((20.0, 18.0), (6.0, 8.0)):
        path = np.array([draw_path(room, name, rng) for _ in range(200)])
        assert (path >= 1).all()
        assert (path <= np.array(room) + 1).all()


def test_black_is_drawn_on_light_and_white_on_dark():
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert min(draw_look(np.array([0]), "black", rng).paper) > 180
        assert max(draw_look(np.array([0]), "white", rng).paper) < 80


def test_a_sample_is_a_function_of_seed_split_and_index():
    world = World(CONFIG, None)
    assert world.sample("train", 3) == World(CONFIG, None).sample("train", 3)
    assert world.sample("train", 3) != world.sample("test", 3)
    assert world.sample("train", 3) != world.sample("train", 4)


def test_without_speech_the_spoken_members_are_omitted():
    sample = World(CONFIG, None).sample("val", 0)
    assert set(sample) == {"__key__", "txt", "query.txt", "png", "video.npy", "json"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"languages": ("xx",)}, "language 'xx' is unknown; choose among: en es"),
        ({"languages": ()}, "no language given"),
        ({"train": 0}, "train 0"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_nonsense_settings_are_refused(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        WorldConfig(**settings)


@pytest.mark.data
@pytest.mark.skipif("UNISON_DATA" not in os.environ, reason="UNISON_DATA is not set")
def test_mnist_is_read_checked_and_drawn():
    digits = load_digits("mnist")
    assert digits.images.shape == (70_000, 28, 28)
    rng = np.random.default_rng(0)
    hand = draw_look(digits.instances("test", 7), "red", rng)
    image = render_image(digits.images[hand.instance], hand, 0.5, rng)
    assert COLOURS[colour(signal(image[None]))[0]] == "red"


def test_a_damaged_mnist_file_is_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"not an idx file")
    with pytest.raises(ValueError, match="sha256"):
        load_digits("mnist", tmp_path)
