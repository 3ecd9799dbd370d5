"""What the loaders' benchmarks compare is the same work."""

import sys
from pathlib import Path

import pytest

from benchmarks.loaders import _ours, _webdataset
from benchmarks.loading import loading, measured
from benchmarks.starting import build
from core.data import ShardData
from core.errors import UserError
from text import TextData


def pictures(batches):
    return sorted(p.numpy().tobytes() for batch in batches for p in batch["image"])


@pytest.mark.parametrize("workers", [0, 2])
def test_ours_and_webdataset_give_the_same_pictures(workers, tiny_world):
    ours, theirs = (make(tiny_world / "train", workers, 1) for make in (_ours, _webdataset))
    assert pictures(ours) == pictures(theirs)


def test_a_measurement_is_of_each_loader_in_turn(tiny_world):
    found = measured(tiny_world / "train", 0, 1, {"ours": Path(sys.executable)}, batch=8)
    assert found["ours"][0] > 0


def test_shards_that_fill_no_batch_are_told(tiny_world):
    with pytest.raises(UserError, match="24 samples but 50 fill two batches"):
        measured(tiny_world / "train", 0, 1, {"ours": Path(sys.executable)}, batch=25)


def test_a_python_that_is_not_there_is_told(tiny_world):
    with pytest.raises(ValueError, match="name the python"):
        loading(tiny_world / "train", litdata=Path("nowhere/python"))


def test_the_dataset_of_many_names_is_read_and_resumed_like_any_other(tmp_path):
    build(tmp_path, shards=20, per_shard=10)
    whole, resumed = (TextData(str(tmp_path), batch_size=16) for _ in range(2))
    batches: list = list(whole.train_dataloader())
    assert len(batches) == 12
    half: ShardData = resumed
    half.load_state_dict(half.state_dict() | {"batches_consumed": 7})
    for ours, theirs in zip(half.train_dataloader(), batches[7:], strict=True):
        assert ours["index"].equal(theirs["index"])
        assert ours["text"] == theirs["text"]
