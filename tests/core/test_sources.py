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


def relative(found, folder):
    return [str(path.relative_to(folder)) for path in found]


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_files_and_folders_behind_links_are_taken(tmp_path):
    fill(tmp_path, "in/real/a.txt", "out/b.txt", "out/below/c.txt", "one.txt")
    (tmp_path / "in" / "linked").symlink_to("../out")
    (tmp_path / "in" / "file.txt").symlink_to(tmp_path / "one.txt")
    found = find_files(tmp_path / "in", {".txt"}, dropped := Counter())
    names = ["file.txt", "linked/b.txt", "linked/below/c.txt", "real/a.txt"]
    assert relative(found, tmp_path / "in") == names
    assert len(found) == 4
    assert not dropped


def test_a_source_may_be_a_link_itself(tmp_path):
    fill(tmp_path, "in/a.txt")
    (tmp_path / "link").symlink_to("in")
    assert relative(find_files(tmp_path / "link", {".txt"}, Counter()), tmp_path) == ["link/a.txt"]


def test_links_in_circles_end_and_no_folder_is_read_twice(tmp_path):
    fill(tmp_path, "in/a.txt", "in/below/b.txt", "out/c.txt", "out/deep/d.txt")
    for name, target in [("up", ".."), ("self", "."), ("twin", "below"), ("x", "../out"),
                         ("y", "../out"), ("z", "../out/deep")]:  # fmt: skip
        (tmp_path / "in" / name).symlink_to(target)
    (tmp_path / "out" / "back").symlink_to("../in")
    found = find_files(tmp_path / "in", {".txt"}, dropped := Counter())
    names = ["a.txt", "below/b.txt", "x/c.txt", "x/deep/d.txt"]
    assert relative(found, tmp_path / "in") == names
    assert dropped == {"link to a folder that is read anyway": 6}


def test_links_that_lead_nowhere_are_counted(tmp_path):
    fill(tmp_path, "a.txt")
    (tmp_path / "dead.txt").symlink_to(tmp_path / "absent")
    (tmp_path / "dead").symlink_to(tmp_path / "absent")
    find_files(tmp_path, {".txt"}, dropped := Counter())
    assert dropped == {"broken link": 2}


def test_names_that_write_an_accent_in_two_ways_stand_side_by_side(tmp_path):
    apart, together = "cafe\u0301", "caf\u00e9"
    fill(tmp_path, f"{apart}.png", "cafez.txt", f"{together}.txt", "cafea.txt", "caff.txt")
    found = relative(find_files(tmp_path, {".png", ".txt"}, Counter()), tmp_path)
    at = found.index(f"{apart}.png")
    assert found[at + 1] == f"{together}.txt"


def test_a_pattern_stands_for_all_that_fit(tmp_path):
    fill(tmp_path, *(f"{n:03d}.tar" for n in range(12)), "x.tar", "a/y.tar")
    for pattern, names in [
        ("00?.tar", [f"{n:03d}.tar" for n in range(10)]),
        ("{008..010}.tar", ["008.tar", "009.tar", "010.tar"]),
        ("{x,a/y}.tar", ["x.tar", "a/y.tar"]),
        ("a*", ["a/y.tar"]),
    ]:
        found = find_files(tmp_path / pattern, {".tar"}, Counter())
        assert relative(found, tmp_path) == names
        assert len(found) == len(names)


def test_kinds_that_could_be_samples_but_are_not_read_are_counted_by_themselves(tmp_path):
    fill(tmp_path, "a.png", "b.HEIC", "c.txt")
    find_files(tmp_path, {".png"}, dropped := Counter(), unread={".heic"})
    assert dropped == {"unread kind of file": 1, "other kind of file": 1}


def test_other_files_are_counted_and_hidden_ones_ignored(tmp_path):
    fill(tmp_path, "b.TXT", "a.txt", "c.doc", ".hidden.txt", ".cache/d.txt")
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
