import os
from pathlib import Path

import pytest

from core.files import existing_file, new_file, new_folder


@pytest.mark.parametrize(
    ("name", "reason"), [("none.png", "does not exist"), ("", "folder"), ("zero.png", "empty")]
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, name: str, reason):
    (tmp_path / "zero.png").touch()
    with pytest.raises(ValueError, match=reason):
        existing_file(tmp_path / name)


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "deep" / "a.txt"

    def write_half() -> None:
        with new_file(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list(path.parent.iterdir()) == []
    with new_file(path) as partial:
        assert partial.suffix == ".txt"
        partial.write_text("whole")
    assert [item.read_text() for item in path.parent.iterdir()] == ["whole"]


def test_a_folder_with_content_is_not_replaced_unawares(tmp_path: Path):
    (tmp_path / "mine").touch()
    with pytest.raises(ValueError, match="is not empty"), new_folder(tmp_path):
        pass
    with pytest.raises(ValueError, match="is a file"), new_folder(tmp_path / "mine"):
        pass
    assert [item.name for item in tmp_path.iterdir()] == ["mine"]


def test_a_folder_keeps_its_old_content_until_the_new_is_whole(tmp_path: Path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").touch()

    def write_half() -> None:
        with new_folder(path, replace=True) as partial:
            (partial / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208
    assert [item.name for item in path.iterdir()] == ["old"]
    with new_folder(path, replace=True) as partial:
        (partial / "new").touch()
    assert [item.name for item in path.iterdir()] == ["new"]
    assert [item.name for item in tmp_path.iterdir()] == ["out"]
