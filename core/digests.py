"""Which contents were seen already: a set of digests in 21 to 43 bytes each."""

WIDTH = 16
"""Bytes of a digest: among a milliard samples two collide with a probability of 2e-21."""
PARTS = 256
"""Tables, one for each first byte: only one of them is copied at a time when they grow."""
FULLEST = 0.75
"""Share of a table's slots in use before it is doubled."""
EMPTY = bytes(WIDTH)


class Digests:
    """A growing set of digests, hashed into open tables with linear probing (Knuth, vol. 3, 6.4).

    A Python set of the same takes over 100 bytes each.
    """

    def __init__(self):
        self._tables = [bytearray(4 * WIDTH) for _ in range(PARTS)]
        self._counts = [0] * PARTS

    def __len__(self) -> int:
        return sum(self._counts)

    @property
    def size(self) -> int:
        """Bytes that the tables take."""
        return sum(map(len, self._tables))

    def add(self, digest: bytes) -> bool:
        """Note the first 16 bytes of a digest of uniform bits; return whether they were new."""
        digest = digest[:WIDTH]
        part = digest[0]
        table = self._tables[part]
        place = _find(table, digest)
        if table[place : place + WIDTH] == digest:
            return False
        table[place : place + WIDTH] = digest
        self._counts[part] += 1
        if self._counts[part] * WIDTH > FULLEST * len(table):
            self._tables[part] = _doubled(table)
        return True


def _find(table: bytearray, digest: bytes) -> int:
    """Return where a digest lies in a table, or the empty slot where it belongs."""
    place = int.from_bytes(digest[1:8]) * WIDTH % len(table)
    while (found := table[place : place + WIDTH]) != digest and found != EMPTY:
        place = (place + WIDTH) % len(table)
    return place


def _doubled(table: bytearray) -> bytearray:
    larger = bytearray(2 * len(table))
    for start in range(0, len(table), WIDTH):
        if (digest := bytes(table[start : start + WIDTH])) != EMPTY:
            place = _find(larger, digest)
            larger[place : place + WIDTH] = digest
    return larger
