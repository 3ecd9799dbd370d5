"""Claims about packing by best fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text.best_fit import best_fit

ROOM = 20
sizes_of = st.lists(st.integers(1, ROOM), max_size=60)


@given(sizes_of)
def test_every_piece_is_in_one_row_and_no_row_overflows(sizes):
    rows = best_fit(sizes, ROOM)
    assert sorted(piece for row in rows for piece in row) == list(range(len(sizes)))
    assert all(0 < sum(sizes[piece] for piece in row) <= ROOM for row in rows)


@given(sizes_of)
def test_no_more_rows_are_used_than_the_bound_allows(sizes):
    assert len(best_fit(sizes, ROOM)) <= 11 / 9 * fewest(sizes) + 4


def fewest(sizes: list[int]) -> int:
    """Return a number of rows that some packing reaches: the best first fit of random orders."""
    draw, best = np.random.default_rng(0), len(sizes)
    for _ in range(5):
        rows: list[int] = []
        for i in draw.permutation(len(sizes)):
            place = next((r for r, used in enumerate(rows) if used + sizes[i] <= ROOM), None)
            if place is None:
                rows.append(sizes[i])
            else:
                rows[place] += sizes[i]
        best = min(best, len(rows))
    return best


def test_a_piece_goes_where_it_leaves_the_least_room():
    assert best_fit([7, 6, 3], 10) == [[0, 2], [1]]
    assert best_fit([6, 7, 3], 10) == [[1, 2], [0]]


def test_pieces_of_the_rooms_size_have_rows_of_their_own():
    assert best_fit([4, 4, 4], 4) == [[0], [1], [2]]
    assert best_fit([], 4) == []


def test_a_piece_that_fits_no_row_is_a_defect():
    with pytest.raises(AssertionError):
        best_fit([5], 4)
