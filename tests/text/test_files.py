import json
from pathlib import Path

import pytest

from text.files import as_texts, read_prompts, read_text, write_text


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
def test_a_file_is_read_in_the_encoding_that_its_first_bytes_tell(encoding: str, tmp_path: Path):
    (tmp_path / "a.txt").write_bytes("eine grüne Sieben".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "eine grüne Sieben"
    assert read_prompts(tmp_path / "a.txt") == ["eine grüne Sieben"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_prompts_are_lines_whatever_they_begin_with_or_hold(end: str, tmp_path: Path):
    prompts = ["--help me", "- a list", "one\u2028two\x85three", " red "]
    (tmp_path / "prompts.txt").write_bytes(end.join(prompts).encode())
    assert read_prompts(tmp_path / "prompts.txt") == prompts
    lines = [json.dumps(prompt, ensure_ascii=False) for prompt in prompts]
    (tmp_path / "prompts.jsonl").write_bytes(end.join(lines).encode())
    assert read_prompts(tmp_path / "prompts.jsonl") == prompts


def test_prompts_may_be_records(tmp_path: Path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "red"}\n{"text": "blue", "id": 3}\n')
    assert read_prompts(tmp_path / "prompts.jsonl") == ["red", "blue"]


@pytest.mark.parametrize(("data", "rule"), [(b"\n \n", "no prompt"), (b"red\0\1\2", "zero bytes")])
def test_a_file_without_a_prompt_is_one_clear_line(data: bytes, rule: str, tmp_path: Path):
    (tmp_path / "prompts.txt").write_bytes(data)
    with pytest.raises(ValueError, match=rule):
        read_prompts(tmp_path / "prompts.txt")


def test_one_string_is_one_text():
    assert as_texts("red") == ("red",)
    assert as_texts(["red", "blue"]) == ("red", "blue")
    assert as_texts(text for text in ("a", "b")) == ("a", "b")
