import gzip
import json
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from text.corpus import documents, gather
from text.corpus.documents import Document, Layout, Unread, parts_of
from text.corpus.gather import gathered

RECORDS = [{"text": "eins\n zwei ", "kind": "a"}, {"text": "drei", "kind": 4}, {"kind": "c"}]


def read(path: Path, layout: Layout) -> list[Document | Unread]:
    return [found for part in parts_of(path, layout) for found in part.read(layout)]


def texts(path: Path, layout: Layout) -> list[str]:
    return [found.text for found in read(path, layout) if isinstance(found, Document)]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("unit", "found"),
    [
        ("file", [" a\tb \n\n\n  c\n d\n\n e  f"]),
        ("line", [" a\tb ", "", "", "  c", " d", "", " e  f"]),
        ("paragraph", [" a\tb ", "  c\n d", " e  f"]),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_white_space_is_kept_and_cr_lf_becomes_lf(tmp_path, unit, found, end):
    data = b" a\tb \n\n\n  c\n d\n\n e  f".replace(b"\n", end)
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbf" + data)
    assert texts(path, Layout(unit)) == found


def test_a_lone_carriage_return_stays(tmp_path):
    assert texts(write(tmp_path / "a.txt", b"a\rb\n"), Layout("file")) == ["a\rb\n"]


@pytest.mark.parametrize("unit", ["line", "paragraph"])
@pytest.mark.parametrize("piece", [1, 2, 7, 64])
def test_pieces_of_any_size_hold_the_same_documents(tmp_path, monkeypatch, unit, piece):
    lines = [f"{'x' * (n % 9)} {n}" if n % 5 else " " * (n % 2) for n in range(60)]
    path = write(tmp_path / "a.txt", "\n".join(lines).encode())
    whole = texts(path, Layout(unit))
    monkeypatch.setattr(documents, "PIECE", piece)
    assert len(list(parts_of(path, Layout(unit)))) > 2
    assert texts(path, Layout(unit)) == whole


def test_a_file_beyond_the_longest_is_not_read(tmp_path):
    path = write(tmp_path / "a.txt", b"x" * 100)
    (found,) = read(path, Layout("file", longest=20))
    assert isinstance(found, Unread)
    assert found.reason == "too long"
    assert texts(path, Layout("file", longest=100)) == ["x" * 100]


@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_a_giant_line_is_passed_over_in_bounded_memory(tmp_path, monkeypatch, unit):
    monkeypatch.setattr("core.sources.LONGEST_LINE", 1000)
    monkeypatch.setattr(documents, "LONGEST_LINE", 1000)
    monkeypatch.setattr(documents, "PIECE", 100)
    path = write(tmp_path / "a.txt", b"before\n\n" + b"x" * 50_000 + b"\n\nafter")
    found = [item for item in read(path, Layout(unit)) if item != Document("")]
    assert found[0] == Document("before")
    assert isinstance(found[1], Unread)
    assert found[1].reason == "too long"
    assert len(found[1].data) == 1000
    assert found[2:] == [Document("after")]


def test_records_keep_white_space_and_label(tmp_path):
    lines = [*map(json.dumps, RECORDS), "[1]", "{broken", '{"text": "\\ud800", "kind": 1}']
    path = write(tmp_path / "a.jsonl", "\n".join(lines).encode() + b'\n{"text": "\xff"}')
    found = read(path, Layout(label="kind"))
    assert found[:2] == [Document("eins\n zwei ", "a"), Document("drei", 4)]
    reasons = [item.reason for item in found[2:] if isinstance(item, Unread)]
    assert reasons == ["no text under 'text'", "no record", "not JSON", "not UTF-8", "not UTF-8"]


def table(path: Path, rows: int = 600) -> Path:
    records = [{"body": f"row\n{n} ", "kind": n % 3} for n in range(rows)]
    found = pyarrow.Table.from_pylist([*records, {"body": None, "kind": 0}])
    pyarrow.parquet.write_table(found, path, row_group_size=250)
    return path


def test_parquet_is_read_by_row_groups(tmp_path):
    layout = Layout(field="body", label="kind")
    path = table(tmp_path / "a.parquet")
    assert len(list(parts_of(path, layout))) == 3
    found = read(path, layout)
    assert found[:2] == [Document("row\n0 ", 0), Document("row\n1 ", 1)]
    assert len(found) == 601
    assert isinstance(found[-1], Unread)


def saved_dataset(folder: Path) -> Path:
    """Write what `datasets.Dataset.save_to_disk` writes: streams of batches, and their names."""
    folder.mkdir(parents=True)
    batches = [
        pyarrow.RecordBatch.from_pylist([{"id": n, "text": f" {n} {k}\n"} for n in range(3)])
        for k in range(4)
    ]
    for name in ("data-00000-of-00001.arrow", "cache-1f.arrow"):
        with pyarrow.ipc.new_stream(folder / name, batches[0].schema) as stream:
            for batch in batches:
                stream.write(batch)
    listed = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(listed))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_saved_dataset_is_read_batch_by_batch_and_its_caches_are_not(tmp_path):
    folder, dropped = saved_dataset(tmp_path / "saved"), Counter()
    (path,) = gathered(folder, tmp_path, dropped)
    assert len(list(parts_of(path, Layout()))) == 4
    assert texts(path, Layout()) == [f" {n} {k}\n" for k in range(4) for n in range(3)]
    assert dropped == {"other kind of file": 2, "file of a cache": 1}


def test_hugging_face_reads_the_same(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    data = datasets.Dataset.from_dict({"text": [f"t {n}\n" for n in range(2500)]})
    data.save_to_disk(tmp_path / "saved", num_shards=2)
    paths = gathered(tmp_path / "saved", tmp_path, Counter())
    assert [t for path in paths for t in texts(path, Layout())] == data["text"]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_a_column_that_is_not_there_is_an_error_that_lists_the_others(tmp_path, name):
    path = table(tmp_path / "a.parquet")
    if name == "a.arrow":
        path = saved_dataset(tmp_path / "saved") / "data-00000-of-00001.arrow"
    with pytest.raises(ValueError, match=r"has no column 'corpus' but (body, kind|id, text); name"):
        read(path, Layout(field="corpus"))


@pytest.mark.parametrize(
    ("name", "kind"), [("a.parquet", "Parquet file"), ("a.arrow", "Arrow str")]
)
def test_a_broken_table_is_named(tmp_path, name, kind):
    with pytest.raises(ValueError, match=rf"{name} is no {kind}"):
        read(write(tmp_path / name, b"broken" * 9), Layout())


def test_packed_files_are_unpacked_once(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.txt.gz", gzip.compress(b"one\ntwo"))
    write(tmp_path / "in" / "b.jsonl.gz", gzip.compress(b'{"text": "three"}'))
    write(tmp_path / "in" / "c.tar.gz", gzip.compress(b"no text"))
    dropped = Counter()
    paths = list(gathered(tmp_path / "in", tmp_path / "scratch", dropped))
    assert [t for path in paths for t in texts(path, Layout("line"))] == ["one", "two", "three"]
    assert dropped == {"other kind of file": 1}
    monkeypatch.setattr(gather.gzip, "open", None)
    assert list(gathered(tmp_path / "in", tmp_path / "scratch", dropped)) == paths


def test_half_a_packed_file_is_an_error(tmp_path):
    write(tmp_path / "a.txt.gz", gzip.compress(b"text" * 99)[:-9])
    with pytest.raises(ValueError, match=r"a\.txt\.gz is no whole gzip file"):
        list(gathered(tmp_path / "a.txt.gz", tmp_path / "scratch", Counter()))


def test_binary_and_empty_files_are_counted(tmp_path):
    write(tmp_path / "a.txt", b"\x89PNG\0\0")
    write(tmp_path / "b.txt", b"\x7fELF\2\1\1\0\0\0\0")
    write(tmp_path / "c.jsonl", b"")
    write(tmp_path / "d.txt", b"text")
    dropped = Counter()
    assert [path.name for path in gathered(tmp_path, tmp_path, dropped)] == ["d.txt"]
    assert dropped == {"binary file": 2, "empty file": 1}


@pytest.mark.parametrize("place", ["memory://corpus", "memory://corpus/deep/a.txt"])
def test_what_lies_at_a_url_is_copied(tmp_path, place):
    store = fsspec.filesystem("memory")
    store.pipe("/corpus/deep/a.txt", b"from afar")
    store.pipe("/corpus/b.pdf", b"no text")
    (path,) = gathered(place, tmp_path, Counter())
    assert path.read_bytes() == b"from afar"
    store.rm("/corpus", recursive=True)
    assert list(gathered(place, tmp_path, Counter())) == [path]


def test_a_file_behind_a_web_address_is_copied(tmp_path):
    (tmp_path / "served").mkdir()
    write(tmp_path / "served" / "a.txt", b"from the web\n")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_address[1]}/a.txt"
        (path,) = gathered(place, tmp_path / "scratch", Counter())
        server.shutdown()
    assert (path.name, path.read_bytes()) == ("a.txt", b"from the web\n")


@pytest.mark.parametrize(
    ("place", "message"),
    [("memory://nothing", "/nothing"), ("nosuch://a/b", "nosuch"),
     ("http://127.0.0.1:9/a.txt", "127.0.0.1:9")],
)  # fmt: skip
def test_a_url_that_cannot_be_read_is_an_error(tmp_path, place, message):
    with pytest.raises(ValueError, match=rf"^{place} cannot be read \(.*{message}"):
        list(gathered(place, tmp_path, Counter()))
