import json

import pytest

from core.manifest import Manifest
from core.shards import ShardReader
from text.data import TextData
from text.shards import shards


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    lines = [
        "\ufeffa red seven",
        "  a   blue  two ",
        "",
        "ein grünes Ding",
        "a red seven",
        "x" * 50,
    ]
    (folder / "a.txt").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe broken")
    records = [{"text": "from json"}, {"text": 3}, {"other": "x"}, [1]]
    (folder / "b.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n{broken")
    return folder


def all_texts(out):
    for split in ("train", "val"):
        reader = ShardReader(out / split)
        yield from (reader.read(i)["txt"].decode() for i in range(len(reader)))


def test_lines_become_texts_and_the_rest_is_counted(source, tmp_path):
    shards(source, tmp_path / "out", longest=40)
    kept = ["a blue two", "a red seven", "ein grünes Ding", "from json"]
    assert sorted(all_texts(tmp_path / "out")) == kept
    counts = {"duplicate": 1, "empty": 1, "too long": 1, "undecodable": 5}
    assert Manifest.load(tmp_path / "out" / "train").dropped == counts


def test_text_data_gives_strings(source, tmp_path):
    shards(source, tmp_path / "out", field="text")
    batch = next(iter(TextData(str(tmp_path / "out"), batch_size=3).train_dataloader()))
    assert set(batch["text"]) < set(all_texts(tmp_path / "out"))
    assert len(batch["text"]) == 3


def test_one_file_may_be_the_source(source, tmp_path):
    shards(source / "a.txt", tmp_path / "out")
    assert len(list(all_texts(tmp_path / "out"))) == 4


@pytest.mark.parametrize(("shortest", "longest"), [(0, 5), (9, 3)])
def test_nonsense_lengths_are_errors(source, tmp_path, shortest, longest):
    with pytest.raises(ValueError, match="1 <= shortest <= longest"):
        shards(source, tmp_path / "out", shortest=shortest, longest=longest)
