from pathlib import Path

import pytest

from text.files import read_text, write_text


def test_a_text_is_itself_and_a_file_s_name_is_its_content(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_text(path, "eine grüne Sieben")
    assert path.read_bytes() == "eine grüne Sieben\n".encode()
    assert read_text(str(path)) == read_text(path) == read_text(" eine  grüne\nSieben ")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("word " * 300, "are the limit"),
        ("none.txt", "does not exist"),
    ],
)
def test_a_bad_text_is_one_clear_line(value: str, rule: str):
    with pytest.raises(ValueError, match=rule) as caught:
        read_text(value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes("gr\xfcn".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8 \\(byte 2\\)"):
        read_text(tmp_path / "a.txt")
