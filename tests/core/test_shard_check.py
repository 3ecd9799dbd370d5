"""Damaged datasets: each damage is named, and none is read as a sample that was never written."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import members
from core.shard_check import find_problems, verify
from core.shards import ShardReader, write_shards


def samples(count=7):
    for i in range(count):
        pixels = torch.full((3, 4, 4), i, dtype=torch.uint8)
        sample = {"__key__": f"{i:06d}", "png": members.encode_png(pixels)}
        yield sample | {"txt": f"text {i}".encode(), "npy": members.encode_npy(pixels)}


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "data"
    write_shards(folder, samples(), required=("png", "txt", "npy"), source="x", licence="x",
                 per_shard=3)  # fmt: skip
    return folder


def found(folder):
    return [str(problem) for problem in find_problems(folder)]


def flip(path, needle, change=b"\xff"):
    whole = path.read_bytes()
    place = whole.index(needle)
    path.write_bytes(whole[:place] + change + whole[place + len(change) :])


def test_a_whole_dataset_has_no_problem(dataset, capsys):
    assert found(dataset) == []
    verify(dataset.parent)
    assert capsys.readouterr().out == f"{dataset}: whole, 7 samples\n"


def test_a_flipped_byte_is_named_with_shard_and_key(dataset):
    flip(dataset / "000001.tar", b"text 4")
    shard, sample = found(dataset)
    assert shard == f"{dataset}/000001.tar: has another hash than the manifest says"
    assert sample.startswith(f"{dataset}/000001.tar: sample 000004: is damaged (its bytes have")
    with pytest.raises(ValueError, match=r"000001\.tar: sample 000004 is damaged"):
        ShardReader(dataset).read(4)


def test_a_truncated_shard_is_named(dataset):
    path = dataset / "000001.tar"
    path.write_bytes(path.read_bytes()[:6000])
    lines = found(dataset)
    assert any("000001.tar: has 6000 bytes" in line for line in lines)
    assert any("is cut off" in line for line in lines)
    assert any("sample 000005: is damaged" in line for line in lines)
    assert not any("000000.tar" in line for line in lines)


def test_a_missing_and_a_foreign_shard_are_named(dataset):
    (dataset / "000001.tar").rename(dataset / "foreign.tar")
    assert found(dataset) == [
        f"{dataset}/foreign.tar: is not in the manifest",
        f"{dataset}/000001.tar: is missing",
    ]


def rebuilt(dataset, change):
    """Write the second shard anew with other members, and a manifest that believes it."""
    path = dataset / "000001.tar"
    with tarfile.open(path) as tar:
        held = [(info, tar.extractfile(info).read()) for info in tar]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for info, data in change(held):
            tar.addfile(info, io.BytesIO(data))


def test_a_missing_member_an_extra_one_and_one_of_a_wrong_type_are_named(dataset):
    def lost(held):
        return [pair for pair in held if pair[0].name != "000004.txt"]

    def added(held):
        extra = tarfile.TarInfo("000004.exe")
        return [*held[:5], (extra, b""), *held[5:]]

    def turned(held):
        for info, _ in held:
            if info.name == "000004.txt":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        return held

    for change in (lost, added, turned):
        copy = dataset.with_name(change.__name__)
        shutil.copytree(dataset, copy)
        rebuilt(copy, change)
        lines = found(copy)
        assert any("sample 000004: is damaged" in line for line in lines), change


def test_duplicate_keys_and_empty_shards_are_named(dataset):
    index = np.load(dataset / "index.npy")
    index["key"][1] = index["key"][0]
    np.save(dataset / "index.npy", index)
    lines = found(dataset)
    assert f"{dataset}: two samples share the key 000000" in lines
    values = json.loads((dataset / "manifest.json").read_text())
    values["shards"][2]["samples"] = 0
    (dataset / "manifest.json").write_text(json.dumps(values))
    assert f"{dataset}/000002.tar: holds no sample" in found(dataset)


def test_a_member_that_is_not_what_its_suffix_says_is_named(tmp_path):
    wrong = [{"__key__": "0", "png": b"no picture"}, {"__key__": "1", "png": b"\x89PNG\r\n\x1a\n"}]
    write_shards(tmp_path / "d", wrong, required=("png",), source="x", licence="x")
    lines = found(tmp_path / "d")
    assert len(lines) == 2
    assert all("png cannot be decoded" in line for line in lines)


def test_verify_fails_with_one_line_and_lists_all(dataset, capsys):
    shutil.copytree(dataset, dataset.with_name("other"))
    flip(dataset / "000000.tar", b"text 0")
    with pytest.raises(ValueError, match="1 of 2 datasets are damaged; rebuild them, or train"):
        verify(dataset.parent)
    out = capsys.readouterr().out
    assert f"{dataset.with_name('other')}: whole" in out
    assert f"{dataset}/000000.tar: sample 000000" in out
    with pytest.raises(ValueError, match="holds no dataset"):
        verify(dataset / "nothing")


def test_a_dataset_without_checksums_is_read(dataset):
    index = np.load(dataset / "index.npy")
    np.save(dataset / "index.npy", index[[n for n in index.dtype.names if n != "crc"]])
    assert ShardReader(dataset).read(3) == list(samples())[3]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("shard", 9, "names shards"), ("shard", -1, "names shards"), ("stop", 1 << 60, "outside"),
     ("start", -5, "outside")],
)  # fmt: skip
def test_an_index_that_points_elsewhere_is_refused(dataset, column, value, message):
    index = np.load(dataset / "index.npy")
    index[column][2] = value
    np.save(dataset / "index.npy", index)
    with pytest.raises(ValueError, match=message):
        ShardReader(dataset)


EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8), st.integers(0, 8)),
    min_size=1, max_size=3,
)  # fmt: skip
"""Where in the file, what is put there, and how many bytes go."""


def edited(whole, edits):
    for share, put, gone in edits:
        place = int(share * len(whole))
        whole = whole[:place] + put + whole[place + gone :]
    return whole


def assert_read_or_refused(folder, expected):
    """Every sample is refused with a message, or is one that was written."""
    try:
        reader = ShardReader(folder)
    except ValueError:
        return
    for position in range(len(reader)):
        try:
            sample = reader.read(position)
        except ValueError:
            continue
        assert sample == expected[position]


def fuzz(examples):
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


def assert_no_wrong_sample(dataset, name, edits):
    path, expected = dataset / name, list(samples())
    whole = path.read_bytes()
    path.write_bytes(edited(whole, edits))
    try:
        assert_read_or_refused(dataset, expected)
        for problem in find_problems(dataset):
            assert str(problem)
    finally:
        path.write_bytes(whole)


FILES = st.sampled_from(["000000.tar", "000002.tar", "index.npy", "manifest.json"])
DECODERS = {
    "png": (members.decode_png, members.encode_png(torch.zeros(3, 8, 8, dtype=torch.uint8))),
    "flac": (lambda data: members.decode_flac(data, 8000),
             members.encode_flac(torch.arange(400, dtype=torch.int16), 8000)),
    "npy": (members.decode_npy, members.encode_npy(torch.zeros(3, 4))),
    "clip": (members.decode_clip, members.encode_clip(torch.zeros(2, 3, 4, 4).to(torch.uint8))),
}  # fmt: skip
REFUSALS = (ValueError, OSError, RuntimeError, SyntaxError, EOFError)
"""What `core.samples` takes for a damaged sample."""


def assert_decoded_or_refused(kind, edits):
    decode, whole = DECODERS[kind]
    try:
        found = decode(edited(whole, edits))
    except REFUSALS:
        return
    assert isinstance(found, torch.Tensor)


@fuzz(100)
@given(FILES, EDITS)
def test_damaged_files_give_no_wrong_sample(dataset, name, edits):
    assert_no_wrong_sample(dataset, name, edits)


@fuzz(300)
@given(st.sampled_from(["png", "flac", "npy", "clip"]), EDITS)
def test_damaged_members_are_refused_or_decoded(kind, edits):
    assert_decoded_or_refused(kind, edits)


@pytest.mark.slow
@fuzz(4000)
@given(FILES, EDITS)
def test_thousands_of_damaged_files_give_no_wrong_sample(dataset, name, edits):
    assert_no_wrong_sample(dataset, name, edits)


@pytest.mark.slow
@fuzz(8000)
@given(st.sampled_from(["png", "flac", "npy", "clip"]), EDITS)
def test_thousands_of_damaged_members_are_refused_or_decoded(kind, edits):
    assert_decoded_or_refused(kind, edits)
