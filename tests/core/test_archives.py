import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from core import archives
from core.archives import index, parts_of


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def read_all(path: Path) -> dict[str, dict[str, bytes]]:
    """Key -> name -> content, by way of the parts."""
    found = {}
    for part in parts_of(path):
        with part.open() as archive:
            for group in part.groups():
                assert group.key not in found
                found[group.key] = {entry.name: archive.read(entry) for entry in group.entries}
    return found


SAMPLES = {
    "000.jpg": b"picture 0", "000.txt": b"text 0", "000.json": b"{}",
    "001.jpg": b"picture 1", "001.json": b"{}",
}  # fmt: skip
WRITERS = {
    "a.tar": write_tar,
    "a.tar.gz": lambda path, members: write_tar(path, members, "w:gz"),
    "a.tgz": lambda path, members: write_tar(path, members, "w:gz"),
    "a.tar.bz2": lambda path, members: write_tar(path, members, "w:bz2"),
    "a.tar.xz": lambda path, members: write_tar(path, members, "w:xz"),
    "a.zip": write_zip,
}


@pytest.mark.parametrize("name", WRITERS)
def test_members_of_one_name_are_a_group_however_they_are_packed(tmp_path, name):
    path = WRITERS[name](tmp_path / name, SAMPLES)
    assert read_all(path) == {
        "000": {name: SAMPLES[name] for name in ("000.jpg", "000.txt", "000.json")},
        "001": {name: SAMPLES[name] for name in ("001.jpg", "001.json")},
    }
    assert not index(path).damaged


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_members_need_not_stand_side_by_side(tmp_path, name):
    names = sorted(SAMPLES, key=lambda name: name[::-1])
    path = WRITERS[name](tmp_path / name, {name: SAMPLES[name] for name in names})
    assert {key: len(group) for key, group in read_all(path).items()} == {"000": 3, "001": 2}


def test_keys_may_hold_dots_folders_and_accents(tmp_path):
    names = ["a/v1.5.jpg", "a/v1.5.txt", "a/v1.6.jpg", "a/v1.jpg", "b/v1.jpg",
             "b/cafe\u0301.jpg", "b/caf\u00e9.txt", "c.jpg", "c.caption.txt"]  # fmt: skip
    found = read_all(write_tar(tmp_path / "a.tar", {name: name.encode() for name in names}))
    assert {key: list(group) for key, group in found.items()} == {
        "a/v1.5": ["a/v1.5.jpg", "a/v1.5.txt"],
        "a/v1.6": ["a/v1.6.jpg"],
        "a/v1": ["a/v1.jpg"],
        "b/v1": ["b/v1.jpg"],
        "b/caf\u00e9": ["b/cafe\u0301.jpg", "b/caf\u00e9.txt"],
        "c": ["c.jpg", "c.caption.txt"],
    }


def test_hidden_members_folders_and_links_are_left_out(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"._a.jpg": b"x", "__MACOSX/a.jpg": b"x", "a.jpg": b"x"})
    with tarfile.open(path, "a") as tar:
        folder, link = tarfile.TarInfo("folder.jpg"), tarfile.TarInfo("link.jpg")
        folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(folder)
        tar.addfile(link)
    assert list(read_all(path)) == ["a"]


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
@pytest.mark.parametrize("part", [1, 700, 5000])
def test_parts_hold_each_group_once(tmp_path, monkeypatch, name, part):
    members = {f"{n:03d}.{kind}": bytes([n]) * n for n in range(40) for kind in ("jpg", "txt")}
    path = WRITERS[name](tmp_path / name, members)
    whole = read_all(path)
    monkeypatch.setattr(archives, "PART", part)
    assert read_all(path) == whole
    assert len(whole) == 40


def cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


def test_what_stands_before_the_damage_is_read(tmp_path):
    path = cut(write_tar(tmp_path / "a.tar", {f"{n}.txt": b"text" for n in range(5)}), 3000)
    assert index(path).damaged
    assert [group.key for group in index(path).groups] == ["0", "1", "2"]
    broken = bytearray(
        write_tar(tmp_path / "b.tar", {f"{n}.txt": b"text" for n in range(5)}).read_bytes()
    )
    broken[2048:2148] = b"\xff" * 100  # a header that is none
    (tmp_path / "b.tar").write_bytes(broken)
    assert index(tmp_path / "b.tar").damaged
    assert [group.key for group in index(tmp_path / "b.tar").groups] == ["0", "1"]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("content", [b"", b"no archive at all" * 99])
def test_what_is_no_archive_is_damaged_and_empty(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert not index(tmp_path / name).groups


def test_a_member_that_breaks_off_is_an_error(tmp_path):
    path = cut(write_tar(tmp_path / "a.tar", {"0.txt": b"x" * 2000}), 1000)
    with pytest.raises(ValueError, match="breaks off after 488 bytes"):
        read_all(path)


def test_a_packed_archive_that_breaks_off_gives_what_there_is(tmp_path):
    import random

    noise = random.Random(0).randbytes  # or nothing would be left to cut
    whole = write_tar(tmp_path / "whole.tar", {f"{n}.txt": noise(1000) for n in range(9)})
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(whole.read_bytes())[:6000])
    assert index(path).damaged
    assert 3 <= len(index(path).groups) < 9
