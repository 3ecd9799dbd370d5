import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.metadata import key_of, read_metadata
from core.records import Layout

LAYOUT = Layout(frozenset({".png", ".wav", ".txt"}), frozenset({".txt"}))
ROWS = [{"file_name": "a.png", "text": "one"}, {"file_name": "deep/b.png", "text": "two"}]


def as_lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows, separator: str = ",") -> str:
    lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
    return "\n".join(lines) + "\n"


TABLES = {
    "metadata.jsonl": as_lines(ROWS),
    "captions.JSONL": "\ufeff" + as_lines(ROWS),
    "metadata.csv": as_csv(ROWS),
    "metadata.tsv": as_csv(ROWS, "\t"),
    "semicolons.csv": as_csv(ROWS, ";"),
    "list.json": json.dumps(ROWS),
    "by_name.json": json.dumps({row["file_name"]: row["text"] for row in ROWS}),
    "by_name_deep.json": json.dumps({r["file_name"]: {"caption": r["text"]} for r in ROWS}),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "a.wav", "deep/b.png"):
        (tmp_path / name).touch()
    return tmp_path


def read(path: Path, layout: Layout = LAYOUT):
    dropped: Counter[str] = Counter()
    return read_metadata([path], layout, dropped), dropped


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_all_kinds_tell_captions_of_files(folder, name):
    (folder / name).write_text(TABLES[name])
    found, dropped = read(folder / name)
    assert found.captions == {
        key_of(folder / "a.png"): ["one"],
        key_of(folder / "deep" / "b.png"): ["two"],
    }
    assert found.tables == {folder / name}
    assert not dropped


def test_a_parquet_file_of_texts_is_metadata_too(folder):
    columns = {key: [row[key] for row in ROWS] for key in ROWS[0]}
    pq.write_table(pa.table(columns | {"width": [3, 4]}), folder / "metadata.parquet")
    found, _ = read(folder / "metadata.parquet")
    assert [*found.captions.values()] == [["one"], ["two"]]


def test_several_captions_of_a_file_stand_in_a_list_or_in_rows(folder):
    rows = [{"file_name": "a.png", "text": ["one", "two"]}, {"file_name": "a.png", "text": "three"}]
    (folder / "metadata.jsonl").write_text(as_lines(rows))
    found, _ = read(folder / "metadata.jsonl")
    assert [*found.captions.values()] == [["one", "two", "three"]]


def test_a_row_that_names_several_files_holds_them_together(folder):
    row = {"image_file_name": "deep/b.png", "audio_file_name": "a.wav", "text": "both"}
    (folder / "metadata.jsonl").write_text(as_lines([row]))
    found, _ = read(folder / "metadata.jsonl")
    (record,) = found.linked
    assert [blob.content for blob in record.blobs] == [folder / "deep" / "b.png", folder / "a.wav"]
    assert record.captions == ("both",)
    assert found.claimed() == {key_of(folder / "deep" / "b.png"), key_of(folder / "a.wav")}


def test_rows_without_their_file_are_counted(folder):
    rows = [*ROWS, {"file_name": "absent.png", "text": "three"}]
    (folder / "metadata.jsonl").write_text(as_lines(rows))
    found, dropped = read(folder / "metadata.jsonl")
    assert len(found.captions) == 2
    assert dropped == {"named file is missing": 1}


@pytest.mark.parametrize("name", ["notes.csv", "notes.jsonl", "notes.json", "notes.parquet"])
@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", '{"text": "a.png"}\n', "{broken", "[[[1]]]"])
def test_what_names_no_files_is_no_metadata(folder, name, content):
    (folder / name).write_text(content)
    found, dropped = read(folder / name)
    assert not found.tables
    assert not dropped


def test_accents_are_found_however_they_are_written(tmp_path):
    (tmp_path / "cafe\u0301.png").touch()
    (tmp_path / "metadata.jsonl").write_text(
        as_lines([{"file_name": "caf\u00e9.png", "text": "x"}])
    )
    found, _ = read(tmp_path / "metadata.jsonl")
    assert found.captions == {key_of(tmp_path / "cafe\u0301.png"): ["x"]}


def test_the_key_of_captions_may_be_named_and_must_be_there(folder):
    rows = [{"file_name": "a.png", "text": "one", "de": "eins"}]
    (folder / "metadata.jsonl").write_text(as_lines(rows))
    found, _ = read(folder / "metadata.jsonl", Layout(LAYOUT.suffixes, LAYOUT.texts, "de"))
    assert [*found.captions.values()] == [["eins"]]
    with pytest.raises(ValueError, match=r"no 'fr' but de, file_name, text; name .* --field"):
        read(folder / "metadata.jsonl", Layout(LAYOUT.suffixes, LAYOUT.texts, "fr"))
