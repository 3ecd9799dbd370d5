"""Best-fit decreasing: pieces into rows of one size, none cut, with little left over."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def best_fit(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Return rows of pieces, by number, that fill at most `room` each.

    The largest piece comes first, and each goes to the row that it leaves the least room in. No
    more than 11/9 of the fewest rows possible and four are needed (Johnson et al. 1974).

    Source: Ding et al. 2024, "Fewer truncations improve language modeling", section 3.

    Args:
        sizes: Size of each piece, at most `room`.
        room: What a row holds.
    """
    assert all(0 < size <= room for size in sizes), "a piece that fits no row"
    rows: list[list[int]] = []
    begun = _Begun()
    for piece in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        found = begun.take(sizes[piece])
        if found is None:
            rows.append([])
            found = len(rows) - 1, room
        row, space = found
        rows[row].append(piece)
        begun.put(row, space - sizes[piece])
    return rows


class _Begun:
    """Rows by the room that they have left."""

    def __init__(self):
        self._rows: dict[int, list[int]] = {}
        self._spaces: list[int] = []  # the keys, ascending

    def put(self, row: int, space: int) -> None:
        if space not in self._rows:
            insort(self._spaces, space)
        self._rows.setdefault(space, []).append(row)

    def take(self, size: int) -> tuple[int, int] | None:
        """Return the row with the least room that holds a size, and that room."""
        place = bisect_left(self._spaces, size)
        if place == len(self._spaces):
            return None
        space = self._spaces[place]
        row = self._rows[space].pop()
        if not self._rows[space]:
            del self._rows[space], self._spaces[place]
        return row, space
