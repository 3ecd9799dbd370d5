from itertools import pairwise

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from core.canvas import find_drawing, resize, to_square


def sheet(height: int, width: int, box: tuple[int, int, int, int], ink=-1.0) -> Tensor:
    """A white sheet with one filled rectangle (top, bottom, left, right)."""
    canvas = torch.ones(1, 3, height, width)
    top, bottom, left, right = box
    canvas[..., top:bottom, left:right] = ink
    return canvas


def ink_height(square: Float[Tensor, "1 3 H W"]) -> float:
    """Height in pixels of black ink on white; an edge counts by how dark it is."""
    return ((1 - square) / 2).amax(dim=(1, 3)).sum().item()


def test_a_small_drawing_on_a_large_sheet_becomes_as_small_as_the_model_knows():
    canvas = sheet(1000, 1500, (700, 800, 1200, 1260))
    assert ink_height(to_square(canvas, 32, "auto")) == pytest.approx(13, abs=1)
    assert ink_height(to_square(canvas, 32, "plain")) < 12  # the centred square cuts it off


def test_a_drawing_that_fills_the_sheet_is_the_largest_with_a_margin_of_background():
    square = to_square(sheet(200, 120, (2, 198, 10, 110)), 32, "auto")
    assert ink_height(square) == pytest.approx(23, abs=1)
    assert (square[..., :3, :] > 0.999).all()


@pytest.mark.parametrize("side", [300, 320, 900])
def test_the_order_of_sizes_is_kept_over_the_whole_sheet(side: int):
    heights = [
        ink_height(to_square(sheet(side, side, (0, tall, 20, 20 + tall // 2)), 32, "auto"))
        for tall in range(side // 20, side + 1, side // 20)
    ]
    assert all(later > earlier - 0.3 for earlier, later in pairwise(heights))
    assert heights[0] == pytest.approx(13, abs=1)
    assert heights[-1] == pytest.approx(23, abs=1)


@pytest.mark.parametrize("height", [14, 16, 22])
def test_a_drawing_at_a_known_scale_keeps_it(height: int):
    canvas = sheet(256, 384, (16, 16 + 8 * height, 300, 360))
    assert ink_height(to_square(canvas, 32, "auto")) == pytest.approx(height, abs=1)


def ink_middle(square: Float[Tensor, "1 3 H W"]) -> list[float]:
    """Middle of the ink's bounds (y, x) in pixels."""
    ink = (square < 0).any(1)[0]
    return [
        (x.nonzero().min() + x.nonzero().max() + 1).item() / 2 for x in (ink.any(1), ink.any(0))
    ]


@pytest.mark.parametrize("corner", [(10, 10), (10, 150), (150, 10), (150, 150)])
def test_a_drawing_in_a_corner_is_brought_to_the_middle(corner: tuple[int, int]):
    top, left = corner
    canvas = sheet(320, 320, (top, top + 160, left, left + 100))
    square = to_square(canvas, 32, "auto")
    assert ink_middle(square) == pytest.approx([16, 16], abs=1)
    assert ink_height(square) == pytest.approx(16, abs=1)


def test_a_drawing_near_the_middle_keeps_its_place():
    canvas = sheet(320, 320, (60, 220, 120, 220))  # 2 pixels of 32 above the middle, 1 to the right
    assert ink_middle(to_square(canvas, 32, "auto")) == [14, 17]


def test_a_picture_of_the_model_s_size_is_left_alone():
    tiny = sheet(32, 32, (2, 5, 3, 5))
    assert torch.equal(to_square(tiny, 32, "auto"), tiny)


def test_a_busy_background_means_the_centred_square():
    photograph = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = resize(photograph[..., 32:96], 32)
    assert torch.equal(to_square(photograph, 32, "auto"), expected)


def test_a_stroke_that_runs_along_the_border_is_still_a_drawing():
    canvas = sheet(320, 320, (0, 60, 0, 320))
    canvas[..., :320, 130:190] = -1.0
    assert ink_height(to_square(canvas, 32, "auto")) == pytest.approx(23, abs=1)


def test_a_border_of_two_plain_halves_is_no_background():
    landscape = sheet(200, 200, (90, 200, 0, 200))
    assert torch.equal(to_square(landscape, 32, "auto"), to_square(landscape, 32, "plain"))


def test_dust_is_no_drawing():
    canvas = sheet(256, 256, (100, 200, 100, 150))
    canvas[..., 5, 5] = -1
    box = find_drawing(canvas, torch.ones(3))
    assert box is not None
    assert (box.top, box.bottom, box.left, box.right) == (100, 200, 100, 150)


def test_an_empty_sheet_stays_empty():
    assert (to_square(torch.ones(1, 3, 300, 200), 32, "auto") > 0.999).all()


def test_frames_share_one_square_that_holds_the_whole_movement():
    frames = torch.cat([sheet(300, 900, (100, 150, x, x + 40)) for x in (100, 300, 500)])
    squares = to_square(frames, 32, "auto")
    columns = [(frame < 0).any(0).any(0).nonzero().float().mean() for frame in squares]
    steps = [later - earlier for earlier, later in pairwise(columns)]
    assert all(step > 5 for step in steps)
    assert steps[0] == pytest.approx(steps[1], abs=1)


def test_block_means_undo_an_enlargement():
    small = torch.rand(2, 3, 32, 32)
    large = small.repeat_interleave(8, -1).repeat_interleave(8, -2)
    torch.testing.assert_close(resize(large, 32), small)
