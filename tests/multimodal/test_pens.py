from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from multimodal.digits import load_digits, load_handwriting
from multimodal.drawing import SUPER
from multimodal.pens import FORMS, centre_line, draw_form, draw_line, stroke_with

DIGITS = load_digits("sklearn")


def drawn(digit: int, height: float, seed: int) -> np.ndarray:
    """A drawing of a training scan's digit: ink in [0, 1], SUPER times larger than `height`."""
    scan = DIGITS.images[DIGITS.instances("train", digit)[seed]]
    ink = draw_line(scan, digit, height, 24.0, np.random.default_rng(seed))
    return np.asarray(ink) / 255


@pytest.mark.parametrize(("digit", "height"), [*product(range(10), (14.0, 22.0))])
def test_ink_is_as_high_as_asked_whatever_the_pen(digit, height):
    tall = [drawn(digit, height, seed).shape[0] / SUPER for seed in range(6)]
    assert tall == pytest.approx([height] * 6, abs=0.6)


def test_a_pen_is_equally_wide_along_its_way():
    points = np.stack([np.linspace(0, 200, 400), 40 * np.sin(np.linspace(0, 6, 400))], axis=1)
    ink = np.asarray(stroke_with(points, 12.0)) > 127
    inside = ndimage.distance_transform_edt(np.pad(ink, 1))[1:-1, 1:-1]
    low = points.min(0) - 6.0
    middle = np.floor(points[20:-20] - low).astype(int)
    assert inside[middle[:, 1], middle[:, 0]] == pytest.approx(6.0, abs=1.1)


def test_pens_of_many_widths_are_drawn():
    ink = [(drawn(1, 20.0, seed) > 0.5) for seed in range(60)]
    widths = [2 * ndimage.distance_transform_edt(np.pad(x, 1)).max() / SUPER for x in ink]
    assert min(widths) < 1.2
    assert max(widths) > 3.5


@pytest.mark.parametrize("digit", range(10))
def test_every_form_of_a_digit_is_drawn_and_none_twice_alike(digit):
    rng = np.random.default_rng(0)
    sizes = {len(draw_form(digit, rng)) for _ in range(60)}
    assert sizes == {200 * len(form) for form in FORMS[digit]}
    assert not np.array_equal(draw_form(digit, rng)[:9], draw_form(digit, rng)[:9])


def test_a_centre_line_lies_within_the_scans_ink():
    scan = DIGITS.images[DIGITS.instances("train", 7)[0]]
    points = centre_line(scan)
    extent = np.ptp(points, axis=0)
    assert len(points) > extent[1]  # from top to bottom without a gap
    assert extent[1] > 0.6 * 8 / 12 * 144  # of eight pixels with two around, enlarged to 144


def test_a_fine_scans_centre_line_keeps_its_loops_and_is_in_one_piece():
    hands, pieces = load_handwriting(), []
    for index in hands.instances("train", 0)[:40]:
        points = centre_line(hands.images[index]).astype(int)
        ink = np.zeros(points.max(0)[::-1] + 2, bool)
        ink[points[:, 1], points[:, 0]] = True
        pieces.append((ndimage.label(ink, np.ones((3, 3)))[1], ndimage.label(~np.pad(ink, 1))[1]))
    assert np.mean([piece == 1 for piece, _ in pieces]) > 0.9
    assert np.mean([holes >= 2 for _, holes in pieces]) > 0.8  # within and without


def test_one_seed_draws_one_drawing():
    assert np.array_equal(drawn(7, 18.0, 3), drawn(7, 18.0, 3))
