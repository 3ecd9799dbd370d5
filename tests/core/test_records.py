import io
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.formats import suffix_of
from core.records import Blob, Layout, as_files, captions_in, find_sources, records_of
from tests.core.test_archives import cut, write_tar, write_zip

PICTURES = frozenset({".png", ".jpg", ".webp"})


def picture(shade: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 9, 9)).save(stream, kind)
    return stream.getvalue()


def contents(folder: Path, dropped: Counter[str]) -> list[bytes]:
    sources = find_sources(folder, PICTURES, dropped)
    assert len(list(sources)) == len(sources)
    return [path.read_bytes() for path in as_files(sources, PICTURES, dropped)]


def records(folder: Path, dropped: Counter[str], field: str | None = None):
    layout = Layout(PICTURES | {".txt"}, frozenset({".txt"}), field)
    sources = find_sources(folder, layout.suffixes, dropped)
    return [record for source in sources for record in records_of(source, layout, dropped)]


def write_table(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def test_files_archives_and_tables_give_their_pictures_in_order(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    write_tar(tmp_path / "b.tar", {"x.png": picture(1), "x.txt": b"text", "y.PNG": picture(2)})
    write_table(tmp_path / "c.parquet", image=[picture(3 + n) for n in range(5)])
    write_zip(tmp_path / "d.zip", {"x.png": picture(8)})
    dropped: Counter[str] = Counter()
    assert contents(tmp_path, dropped) == [picture(n) for n in range(9)]
    assert not dropped


VALUES = {
    "bytes": lambda data: data,
    "bytes and path": lambda data: {"bytes": data, "path": "some/where.png"},
    "bytes without path": lambda data: {"bytes": data, "path": None},
    "a list": lambda data: [{"bytes": data, "path": None}],
}


@pytest.mark.parametrize("way", VALUES)
def test_pictures_stand_in_columns_in_several_ways(tmp_path, way):
    values = [VALUES[way](picture(n, "JPEG")) for n in range(4)]
    write_table(tmp_path / "a.parquet", other=["x"] * 4, pic=values)
    assert contents(tmp_path, Counter()) == [picture(n, "JPEG") for n in range(4)]


def test_pictures_that_a_column_only_names_are_read_from_the_tables_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.png").write_bytes(picture(7))
    paths = ["deep/x.png", "deep/absent.png"]
    values = [{"bytes": None, "path": path} for path in paths]
    path = write_table(tmp_path / "a.parquet", image=values)
    dropped: Counter[str] = Counter()
    assert contents(path, dropped) == [picture(7)]
    assert dropped == {"named file is missing": 1}


def test_rows_that_are_empty_or_hold_no_known_format_are_counted(tmp_path):
    write_table(tmp_path / "a.parquet", image=[picture(1), None, b"no picture", picture(2)])
    dropped: Counter[str] = Counter()
    assert contents(tmp_path, dropped) == [picture(1), picture(2)]
    assert dropped == {"empty row": 1, "undecodable": 1}


def test_tables_without_media_are_other_files_and_damaged_ones_are_counted(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    write_table(tmp_path / "b.parquet", url=["x"], caption=["y"], width=[3])
    (tmp_path / "c.parquet").write_bytes(b"PAR1 broken")
    (tmp_path / "d.tar").write_bytes(b"broken" * 200)
    dropped: Counter[str] = Counter()
    assert contents(tmp_path, dropped) == [picture(0)]
    assert dropped == {"other kind of file": 1, "damaged table": 1, "damaged archive": 1}


def test_a_row_group_that_cannot_be_read_is_counted(tmp_path):
    path = write_table(tmp_path / "a.parquet", image=[picture(n) for n in range(6)])
    data = bytearray(path.read_bytes())
    data[4:24] = b"\xff" * 20  # the header of the first page
    path.write_bytes(data)
    dropped: Counter[str] = Counter()
    assert contents(tmp_path, dropped) == [picture(n) for n in (3, 4, 5)]
    assert dropped == {"damaged row group": 1}


def test_what_datasets_saved_is_read_but_not_its_cache(tmp_path):
    def write(name: str, shade: int) -> None:
        table = pa.table({"image": [{"bytes": picture(shade), "path": "x.png"}], "text": ["a"]})
        with (
            pa.OSFile(str(tmp_path / name), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as out,
        ):
            out.write_table(table)

    write("data-00000-of-00001.arrow", 1)
    write("cache-0123.arrow", 2)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    dropped: Counter[str] = Counter()
    (record,) = records(tmp_path, dropped)
    assert (record.blobs[0].content, record.captions) == (picture(1), ("a",))
    assert dropped == {"other kind of file": 2}


def test_without_pyarrow_a_table_says_how_to_get_it(tmp_path, monkeypatch):
    import sys

    write_table(tmp_path / "a.parquet", image=[picture(0)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="install it with: pip install 'pyarrow"):
        find_sources(tmp_path, PICTURES, Counter())


def test_a_json_tells_captions_only_where_no_sample_has_a_text(tmp_path):
    told = {f"{n}.json": json.dumps({"caption": f"told {n}"}).encode() for n in range(2)}
    pictures = {f"{n}.jpg": picture(n, "JPEG") for n in range(2)}
    with_text = write_tar(tmp_path / "a.tar", pictures | told | {"0.txt": b"text"})
    without = write_tar(tmp_path / "b.tar", pictures | told)
    assert [record.captions for record in records(with_text, Counter())] == [(), ()]
    found = [record.captions for record in records(without, Counter())]
    assert found == [("told 0",), ("told 1",)]


def test_members_of_other_kinds_and_broken_json_stop_nothing(tmp_path):
    members = {"0.jpg": picture(0, "JPEG"), "0.json": b"{broken", "0.cls": b"3", "1.cls": b"3"}
    dropped: Counter[str] = Counter()
    assert len(records(write_tar(tmp_path / "a.tar", members), dropped)) == 1
    assert dropped == {"undecodable": 1}


def test_a_truncated_member_is_counted_and_those_before_are_taken(tmp_path):
    path = write_tar(tmp_path / "a.tar", {f"{n}.png": picture(n) * 20 for n in range(4)})
    dropped: Counter[str] = Counter()
    taken = contents(cut(path, 4000), dropped)
    assert taken == [picture(0) * 20]
    assert dropped == {"damaged archive": 1, "undecodable": 1}


@pytest.mark.parametrize(
    ("row", "field", "captions"),
    [
        ({"caption": "b", "text": "a"}, None, ("a",)),
        ({"caption": "b", "text": None}, None, ("b",)),
        ({"text": ["a", "b", " "]}, None, ("a", "b")),
        ({"sentences": [{"raw": "a"}, {"raw": "b"}]}, None, ("a", "b")),
        ({"text": "a", "de": "b"}, "de", ("b",)),
        ({"url": "x"}, None, ()),
        ([1], None, ()),
    ],
)
def test_captions_stand_under_usual_keys_or_the_one_that_is_named(row, field, captions):
    assert captions_in(row, field) == captions


def test_a_column_of_captions_that_is_not_there_is_named(tmp_path):
    write_table(tmp_path / "a.parquet", image=[picture(0)], title=["x"])
    with pytest.raises(ValueError, match="no column 'words' but image, title; name one with --f"):
        records(tmp_path, Counter(), "words")


def test_a_blob_is_a_file_for_as_long_as_it_is_needed():
    with Blob("where/ever.PNG", b"data").on_disk() as path:
        assert (path.suffix, path.read_bytes()) == (".png", b"data")
    assert not path.exists()


def test_formats_are_told_by_their_first_bytes(tmp_path):
    import numpy as np
    import soundfile

    for kind, suffix in [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("GIF", ".gif"),
                         ("BMP", ".bmp"), ("TIFF", ".tif")]:  # fmt: skip
        assert suffix_of(picture(1, kind)) == suffix
    for kind in ("wav", "flac", "ogg", "mp3", "aiff"):
        path = tmp_path / f"a.{kind}"
        soundfile.write(path, np.zeros(4000), 8000)
        assert suffix_of(path.read_bytes()) == f".{kind}"
    assert suffix_of(b"") is suffix_of(b"plain text") is None
