"""Claims about what builders of text take an input for, and about what they lose."""

import json
from collections import Counter

import pytest

from core.cli import command, plain_options, quoted_lists
from core.manifest import Manifest
from core.outcome import FLAGS
from core.shards import ShardReader
from text.charsets import decode, encoding_of, plain_files
from text.shards import LISTS, shards

NOVEL = [
    f"Chapter {n}. " + f"It was a cold night in the town of number {n}. " * 40 for n in range(9)
]


def run(*words) -> None:
    argv = quoted_lists([str(word) for word in words], LISTS, alone=("--source",))
    command(shards, plain_options(argv, flags=FLAGS))


def texts(out) -> list[str]:
    found = []
    for split in ("train", "val"):
        reader = ShardReader(out / split)
        found += [reader.read(i)["txt"].decode() for i in range(len(reader))]
    return sorted(found)


def write_records(path, values, field="text"):
    path.write_text("".join(json.dumps({field: value}) + "\n" for value in values))
    return path


def plain_rules() -> list[str]:
    """Return the options under which repeated sentences stay."""
    return ["--rules.judged", "1000000"]


def test_long_records_are_documents_by_default_and_none_is_lost(tmp_path, capsys):
    run("--source", write_records(tmp_path / "novels.jsonl", NOVEL), "--out", tmp_path / "out",
        *plain_rules())  # fmt: skip
    out = capsys.readouterr().out
    assert "taken as documents (--unit file): 9 of the first 9 texts are longer" in out
    assert texts(tmp_path / "out") == sorted(NOVEL)
    assert out.splitlines()[-1] == f"{tmp_path / 'out'}: 9 samples of 9 inputs"


def test_records_of_several_lines_keep_their_lines(tmp_path):
    poems = [f"Roses are {colour},\nviolets are blue." for colour in ("red", "white", "pink")]
    shards(write_records(tmp_path / "poems.jsonl", poems), tmp_path / "out")
    assert texts(tmp_path / "out") == sorted(poems)


def test_short_lines_are_captions_by_default(tmp_path):
    (tmp_path / "a.txt").write_text("a red  seven\n\na blue two\n")
    shards(tmp_path / "a.txt", tmp_path / "out")
    assert texts(tmp_path / "out") == ["a blue two", "a red seven"]
    assert Manifest.load(tmp_path / "out" / "train").members == ("txt",)


def test_a_few_long_captions_among_many_are_dropped_without_a_warning(tmp_path, capsys):
    captions = [f"caption {n}" for n in range(40)]
    run("--source", write_records(tmp_path / "c.jsonl", [*captions, NOVEL[0]]),
        "--out", tmp_path / "out", "--strict")  # fmt: skip
    assert capsys.readouterr().out.splitlines()[-1].endswith("40 samples of 41 inputs")


def test_the_last_line_names_what_was_dropped_and_the_option(tmp_path, capsys):
    source = write_records(tmp_path / "novels.jsonl", [*NOVEL, "short", "brief"])
    run("--source", source, "--out", tmp_path / "out", "--unit", "caption")
    last = capsys.readouterr().out.splitlines()[-1]
    assert "dropped 9: 9 too long (--longest keeps longer ones" in last


def test_joined_lines_are_told(tmp_path, capsys):
    source = write_records(tmp_path / "poems.jsonl", ["a\nb", "c\nd", "e"])
    run("--source", source, "--out", tmp_path / "out", "--unit", "caption")
    last = capsys.readouterr().out.splitlines()[-1]
    assert "changed: 2 lines joined to one (--unit file keeps line breaks)" in last


@pytest.mark.parametrize("unit", ["caption", "file"])
def test_strict_makes_a_loss_an_error_and_writes_nothing(unit, tmp_path, capsys):
    source = write_records(tmp_path / "novels.jsonl", [*NOVEL, "short", "brief"])
    words = ["--unit", unit, "--longest", "100", "--strict"]
    with pytest.raises(SystemExit) as stop:
        run("--source", source, "--out", tmp_path / "out", *words)
    assert stop.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert "9 too long (--longest" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["novels.jsonl"]


def test_records_without_the_key_are_an_error_that_names_their_keys(tmp_path, capsys):
    write_records(tmp_path / "a.jsonl", ["one", "two"], field="caption")
    with pytest.raises(SystemExit) as stop:
        run("--source", tmp_path / "a.jsonl", "--out", tmp_path / "out")
    assert stop.value.code == 2
    assert "its keys are caption: name one with --field" in capsys.readouterr().err


ENCODED = {
    "utf-8-sig": None,
    "utf-16": None,
    "utf-32": None,
    "utf-16-le": None,
    "utf-16-be": None,
    "cp1252": "cp1252",
    "latin-1": "latin-1",
    "shift_jis": "shift_jis",
}
LINES = {name: ["a grün seven", "a blue two", "the end"] for name in ENCODED} | {
    "shift_jis": ["赤い七", "a blue two", "the end"]
}


@pytest.mark.parametrize("unit", ["caption", "line"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("encoding", ENCODED)
def test_text_of_other_encodings_and_line_ends_is_read(encoding, end, unit, tmp_path):
    lines = LINES[encoding]
    (tmp_path / "a.txt").write_bytes(end.join(lines).encode(encoding))
    shards(tmp_path / "a.txt", tmp_path / "out", unit=unit, encoding=ENCODED[encoding])
    assert texts(tmp_path / "out") == sorted(lines)
    assert Manifest.load(tmp_path / "out" / "train").dropped == {}


def test_records_in_utf_16_are_read(tmp_path):
    lines = "".join(json.dumps({"text": t}, ensure_ascii=False) + "\r\n" for t in ("grün", "日本"))
    (tmp_path / "a.jsonl").write_bytes(lines.encode("utf-16"))
    shards(tmp_path / "a.jsonl", tmp_path / "out")
    assert texts(tmp_path / "out") == ["grün", "日本"]


@pytest.mark.parametrize("unit", ["caption", "line"])
def test_odd_separators_within_a_line_part_no_texts(unit, tmp_path):
    lines = ["one\u2028two", "three\x85four", "five\x0bsix"]
    (tmp_path / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    shards(tmp_path / "a.txt", tmp_path / "out", unit=unit)
    joined = [" ".join(line.split()) for line in lines] if unit == "caption" else lines
    assert set(texts(tmp_path / "out")) <= set(joined)
    assert len(texts(tmp_path / "out")) >= 2


def test_bytes_of_another_encoding_are_dropped_with_the_option_that_reads_them(tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes("größer\ngrün\nred\nblue\n".encode("latin-1"))
    run("--source", tmp_path / "a.txt", "--out", tmp_path / "out")
    last = capsys.readouterr().out.splitlines()[-1]
    assert "2 undecodable" in last
    assert "--encoding" in last


def test_a_file_with_zero_bytes_is_counted_as_binary(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\x7fELF\0\0\1junk")
    (tmp_path / "b.txt").write_text("red\nblue\n")
    shards(tmp_path, tmp_path / "out", unit="caption")
    assert Manifest.load(tmp_path / "out" / "train").dropped == {"binary file": 1}


def test_an_unknown_encoding_is_the_users_mistake(tmp_path):
    (tmp_path / "a.txt").write_text("red\nblue\n")
    with pytest.raises(ValueError, match="is not known"):
        shards(tmp_path, tmp_path / "out", unit="caption", encoding="klingon")


def test_plain_utf_8_is_not_copied(tmp_path):
    (tmp_path / "a.txt").write_text("grün\n", encoding="utf-8")
    assert list(plain_files([tmp_path / "a.txt"], tmp_path, Counter())) == [tmp_path / "a.txt"]
    assert encoding_of("日本".encode()) == "utf-8"
    assert decode("日本".encode("utf-16")) == "日本"
