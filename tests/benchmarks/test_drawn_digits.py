import os

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.drawn_digits import INKS, TEST, Drawing, centre_line, draw, score
from multimodal.captions import caption
from multimodal.digits import load_digits, load_handwriting
from multimodal.factors import Factors


def bar() -> np.ndarray:
    """A scan of 28 x 28 pixels with one upright stroke of three."""
    scan = np.zeros((28, 28), np.float32)
    scan[4:24, 12:15] = 1
    return scan


def test_a_centre_line_runs_through_the_middle_of_a_stroke():
    points = centre_line(bar())
    assert points[:, 0] == pytest.approx(np.full(len(points), 8 * (13.5 + 2)), abs=6)
    assert np.ptp(points[:, 1]) > 8 * 15


def test_a_drawing_shows_one_round_stroke_in_its_colour_on_a_white_sheet():
    rng, line = np.random.default_rng(0), centre_line(bar())
    for _ in range(5):
        drawing = draw(1, line, rng)
        ink = np.array([int(INKS[drawing.colour][i : i + 2], 16) for i in (1, 3, 5)])
        inside = (np.abs(drawing.sheet.astype(int) - ink) <= 2).all(-1)
        assert 300 <= len(drawing.sheet) <= 900
        assert ndimage.label(inside, np.ones((3, 3)))[1] == 1
        assert (drawing.sheet == 255).all(-1).mean() > 0.5
        tall = np.ptp(np.flatnonzero(inside.any(1))) / len(drawing.sheet)
        assert 0.25 < tall < 0.9


def test_the_score_counts_digits_and_colours_that_captions_name():
    sheet, rng = np.zeros((1, 1, 3), np.uint8), np.random.default_rng(0)
    drawings = [Drawing(digit, "red", sheet) for digit in range(10)]
    truth = [caption(Factors(d, "red", "left", 0.5), "en", rng) for d in range(10)]
    numbers = score(drawings, truth, seed=0)
    assert numbers["digit"] == 1.0
    assert numbers["colour"] == 1.0
    truth[7] = caption(Factors(2, "blue", "left", 0.5), "en", rng)
    truth[3] = "not a caption"
    numbers = score(drawings, truth, seed=0)
    assert numbers["digit"] == pytest.approx(0.8)
    assert numbers["colour"] == pytest.approx(0.8)
    assert numbers["by_digit"][7] == 0.0
    assert numbers["confused"] == {"3 as -1": 1, "7 as 2": 1}


@pytest.mark.skipif("UNISON_DATA" not in os.environ, reason="UNISON_DATA is not set")
def test_no_digit_that_drawings_in_training_follow_is_one_that_is_judged():
    scans = {scan.tobytes(): i for i, scan in enumerate(load_digits("mnist").images)}
    hands = load_handwriting()
    followed = {scans[scan.tobytes()] for scan in hands.images}
    assert len(followed) == len(hands.labels) == 5000
    assert max(followed) < TEST.start
