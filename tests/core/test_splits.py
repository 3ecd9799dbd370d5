import hashlib
from collections import Counter

import pytest

from core.manifest import Manifest
from core.shards import ShardReader
from core.splits import write_splits


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
        ([1], 0.1, "only 1 usable sample was found but"),
        ([1, 1, 1], 0.1, r"only 1 usable sample was found \(2 duplicate left out\) but"),
        ([1, 2], 0.0, "val_fraction is 0.0"),
        ([1, 2], 1.5, "val_fraction is 1.5"),
    ],
)
def test_a_split_that_cannot_be_made_leaves_nothing(tmp_path, numbers, val_fraction, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "a", texts(numbers), val_fraction)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("val_fraction", [0.001, 0.3, 0.999])
def test_split_and_keys_are_what_two_passes_would_give(tmp_path, val_fraction):
    """The rule, said once more by sorting: the smallest shares are for validation, one at least."""
    out = tmp_path / "a"
    build(out, texts([*range(40), 3, 3]), val_fraction)
    contents = [f"txt {len(t)} ".encode() + t for t in (s["txt"] for s in texts(range(40)))]
    shares = [int(hashlib.sha256(c).hexdigest()[:12], 16) / 2**48 for c in contents]
    count = min(max(sum(share < val_fraction for share in shares), 1), 39)
    last = sorted(shares)[count - 1]
    keys = {split: ShardReader(out / split).keys for split in ("train", "val")}
    assert keys["val"] == [f"{i:08d}" for i, share in enumerate(shares) if share <= last]
    assert keys["train"] == [f"{i:08d}" for i, share in enumerate(shares) if share > last]
    assert Manifest.load(out / "train").dropped == {"duplicate": 2}
