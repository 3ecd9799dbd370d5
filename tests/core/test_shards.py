import errno
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from core.manifest import Manifest
from core.shards import ShardReader, write_shards

ORIGIN = {"source": "made up", "licence": "CC0-1.0"}


def samples(count: int = 7, start: int = 0):
    for i in range(start, start + count):
        sample = {"__key__": f"{i:06d}", "txt": f"text {i}".encode()}
        yield sample | ({"query.txt": b"?" * i} if i % 2 else {})


def build(out: Path, count: int = 7, **options) -> Manifest:
    options = {"required": ("txt",), "optional": ("query.txt",), "per_shard": 3} | options
    return write_shards(out, samples(count), **ORIGIN, **options)


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_same_samples_give_the_same_bytes(tmp_path):
    first, second = build(tmp_path / "a"), build(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert first.dataset_id == second.dataset_id


def test_other_samples_give_another_dataset_id(tmp_path):
    assert build(tmp_path / "a", 7).dataset_id != build(tmp_path / "b", 8).dataset_id


def test_any_sample_is_read_by_position(tmp_path):
    build(tmp_path / "a")
    reader = ShardReader(tmp_path / "a")
    assert len(reader) == 7
    for i, sample in reversed(list(enumerate(samples()))):
        assert reader.read(i) == sample


def test_only_the_members_asked_for_are_read(tmp_path):
    build(tmp_path / "a")
    reader = ShardReader(tmp_path / "a")
    assert reader.read(3, ["query.txt"]) == {"__key__": "000003", "query.txt": b"???"}
    assert reader.has("query.txt").tolist() == [False, True, False, True, False, True, False]


def test_manifest_counts_samples_hashes_and_dropped(tmp_path):
    manifest = build(tmp_path / "a", dropped={"too small": 2})
    written = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert [shard["samples"] for shard in written["shards"]] == [3, 3, 1]
    assert (written["kept"], written["dropped"]) == (7, {"too small": 2})
    assert written["shards"][1]["sha256"] == contents(tmp_path / "a")["000001.tar"]
    assert Manifest.load(tmp_path / "a") == manifest


def test_the_index_is_what_numpy_saves(tmp_path):
    build(tmp_path / "a", 7)
    index = np.load(tmp_path / "a" / "index.npy")
    np.save(tmp_path / "again.npy", index)
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "a" / "index.npy").read_bytes()
    assert index["shard"].tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_keys_may_come_in_any_order_and_width(tmp_path):
    keys = ["b", "a", "long", "a1"]
    rows = [{"__key__": key, "txt": key.encode()} for key in keys]
    write_shards(tmp_path / "a", rows, required=["txt"], per_shard=2, **ORIGIN)
    reader = ShardReader(tmp_path / "a")
    assert reader.keys == keys
    assert [reader.read(i)["txt"] for i in range(4)] == [key.encode() for key in keys]


def test_webdataset_reads_what_we_write(tmp_path):
    import webdataset

    build(tmp_path / "a")
    read = webdataset.WebDataset([str(p) for p in sorted((tmp_path / "a").glob("*.tar"))],
                                 shardshuffle=False)  # fmt: skip
    assert [s["txt"] for s in read] == [s["txt"] for s in samples()]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"__key__": "1"}, "sample 1 lacks the required members"),
        ({"__key__": "1", "txt": b"", "png": b""}, "does not declare"),
        ({"__key__": "a.b", "txt": b""}, "without dots"),
        ({"__key__": "000000", "txt": b""}, "share a key"),
    ],
)
def test_a_bad_sample_is_named_and_nothing_is_left(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        write_shards(tmp_path / "a", [*samples(), bad], required=["txt"], optional=["query.txt"],
                     **ORIGIN)  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("webdataset.writer.TarWriter.write", full)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def interrupted():
        yield from samples(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "a", interrupted(), required=["txt"], optional=["query.txt"],
                     per_shard=3, **ORIGIN)  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_an_existing_dataset_is_not_overwritten(tmp_path):
    build(tmp_path / "a")
    with pytest.raises(ValueError, match="exists already"):
        build(tmp_path / "a")


def test_no_samples_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no usable samples"):
        build(tmp_path / "a", 0)


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="holds no dataset") as error:
        ShardReader(tmp_path / "absent")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"kept": 1, "shards": [{}]}'])
def test_a_damaged_manifest_is_named(tmp_path, text):
    build(tmp_path / "a")
    (tmp_path / "a" / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json is not a dataset manifest"):
        ShardReader(tmp_path / "a")


def test_a_manifest_of_another_version_is_named(tmp_path):
    build(tmp_path / "a")
    path = tmp_path / "a" / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(ValueError, match="version 99"):
        ShardReader(tmp_path / "a")


def test_a_truncated_or_missing_shard_is_named(tmp_path):
    build(tmp_path / "a")
    shard = tmp_path / "a" / "000001.tar"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"000001\.tar has 1000 bytes"):
        ShardReader(tmp_path / "a")
    shard.unlink()
    with pytest.raises(ValueError, match=r"000001\.tar is missing"):
        ShardReader(tmp_path / "a")


def test_a_damaged_index_is_named(tmp_path):
    build(tmp_path / "a")
    (tmp_path / "a" / "index.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"index\.npy cannot be read"):
        ShardReader(tmp_path / "a")


def test_a_lost_member_is_named_with_shard_and_key(tmp_path):
    build(tmp_path / "a")
    shard = tmp_path / "a" / "000001.tar"
    shard.write_bytes(shard.read_bytes().replace(b"000004.txt", b"000004.tyt"))
    with pytest.raises(ValueError, match=r"000001\.tar: sample 000004 (lacks|is damaged)"):
        ShardReader(tmp_path / "a").read(4)
