from collections import Counter

import pytest

from core.shards import ShardReader
from core.splits import find_files, write_splits


def texts(numbers):
    return ({"txt": f"text {n}".encode()} for n in numbers)


def build(out, samples, val_fraction=0.2):
    write_splits(out, samples, required=["txt"], dropped=Counter(), val_fraction=val_fraction,
                 source="made up", licence="CC0-1.0")  # fmt: skip
    readers = {split: ShardReader(out / split) for split in ("train", "val")}
    return {split: {r.read(i)["txt"] for i in range(len(r))} for split, r in readers.items()}


def test_each_sample_is_in_one_split(tmp_path):
    splits = build(tmp_path / "a", texts(range(500)))
    assert splits["train"] | splits["val"] == {sample["txt"] for sample in texts(range(500))}
    assert not splits["train"] & splits["val"]
    assert 70 < len(splits["val"]) < 130
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"train", "val"}


def test_a_sample_keeps_its_split_when_others_come(tmp_path):
    before = build(tmp_path / "a", texts(range(100)))
    after = build(tmp_path / "b", texts(reversed(range(200))))
    assert before["val"] <= after["val"]
    assert before["train"] <= after["train"]


@pytest.mark.parametrize("val_fraction", [0.001, 0.999])
def test_no_split_is_empty(tmp_path, val_fraction):
    splits = build(tmp_path / "a", texts(range(5)), val_fraction)
    assert min(map(len, splits.values())) == 1


def test_duplicates_are_in_one_split_once(tmp_path):
    splits = build(tmp_path / "a", texts([0, 1, 1, 2, 0]))
    assert sum(map(len, splits.values())) == 3


@pytest.mark.parametrize(
    ("numbers", "val_fraction", "message"),
    [
        ([], 0.1, "no usable samples"),
        ([1], 0.1, "only 1 usable sample"),
        ([1, 2], 0.0, "val_fraction is 0.0"),
        ([1, 2], 1.5, "val_fraction is 1.5"),
    ],
)
def test_a_split_that_cannot_be_made_leaves_nothing(tmp_path, numbers, val_fraction, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "a", texts(numbers), val_fraction)
    assert not list(tmp_path.iterdir())


def test_other_files_are_counted_and_hidden_ones_ignored(tmp_path):
    for name in ("b.TXT", "a.txt", "c.doc", ".hidden.txt"):
        (tmp_path / name).touch()
    dropped = Counter()
    found = find_files(tmp_path, {".txt"}, dropped)
    assert [path.name for path in found] == ["a.txt", "b.TXT"]
    assert dropped == {"other kind of file": 1}


def test_a_source_without_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.txt among its 0 files"):
        find_files(tmp_path, {".txt"}, Counter())
    with pytest.raises(ValueError, match="does not exist"):
        find_files(tmp_path / "absent", {".txt"}, Counter())
