import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import sources
from core.sources import Piece, find_files, pieces


def test_files_are_found_in_the_order_of_their_sorted_paths(tmp_path):
    names = ["b/x.txt", "a/z.txt", "a.txt", "a-b/y.txt", "A.txt", "ä.txt", "a/b/c.txt", "B.TXT"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_files(tmp_path, {".txt"}, Counter())
    assert list(found) == sorted(tmp_path / name for name in names)
    assert len(found) == len(names)
    assert list(found) == list(found)


def test_folders_behind_links_are_left_out_and_files_behind_links_are_not(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").touch()
    (tmp_path / "folder").symlink_to(tmp_path / "in")
    (tmp_path / "file.txt").symlink_to(tmp_path / "in" / "a.txt")
    (tmp_path / "dead.txt").symlink_to(tmp_path / "absent")
    found = find_files(tmp_path, {".txt"}, Counter())
    assert [str(path.relative_to(tmp_path)) for path in found] == ["file.txt", "in/a.txt"]


def test_other_files_are_counted_and_hidden_ones_ignored(tmp_path):
    for name in ("b.TXT", "a.txt", "c.doc", ".hidden.txt"):
        (tmp_path / name).touch()
    dropped = Counter()
    found = find_files(tmp_path, {".txt"}, dropped)
    assert [path.name for path in found] == ["a.txt", "b.TXT"]
    assert dropped == {"other kind of file": 1}


def test_a_source_without_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.txt among its 0 files"):
        find_files(tmp_path, {".txt"}, Counter())
    with pytest.raises(ValueError, match="does not exist"):
        find_files(tmp_path / "absent", {".txt"}, Counter())


@given(st.binary(max_size=200).map(lambda b: b.replace(b"a", b"\n")), st.integers(1, 50))
def test_pieces_hold_each_line_once_in_order(tmp_path_factory, content, size):
    path: Path = tmp_path_factory.getbasetemp() / f"{os.getpid()}.txt"
    path.write_bytes(content)
    with path.open("rb") as stream:
        expected = list(stream)
    assert [line for piece in pieces([path], size) for line in piece.lines()] == expected


def test_a_piece_is_named_by_its_file_and_bytes():
    assert str(Piece(Path("a.txt"), 3, 9)) == "a.txt (bytes 3 to 9)"


def test_a_giant_line_is_cut_and_read_by_the_piece_where_it_starts_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LONGEST_LINE", 50)
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n" + b"x" * 5000 + b"\ntwo\n" + b"y" * 51)
    found = [list(piece.lines()) for piece in pieces([path], 20)]
    assert [line for lines in found for line in lines] == [b"one\n", b"x" * 51, b"two\n", b"y" * 51]
    assert found[0] == [b"one\n", b"x" * 51]


def test_lines_are_the_same_in_pieces_of_any_size(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"".join(b"x" * (n * 7 % 23) + b"\n" for n in range(50)) + b"end")
    whole = path.read_bytes().splitlines(keepends=True)
    for size in (1, 2, 5, 22, 23, 24, 1000):
        assert [line for piece in pieces([path], size) for line in piece.lines()] == whole
