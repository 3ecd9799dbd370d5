import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import core.checkpoint_folder as folders
from core.checkpoint_folder import INDEX, folder_size, read_folder, read_index, write_folder
from tests.training import assert_same


class Dead(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def mesh():
    """A mesh of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def checkpoint(mesh, value, places=None):
    def rows(*shape):
        return distribute_tensor(torch.full(shape, float(value)), mesh, [places or Shard(0)])

    return {
        "state_dict": {"a.weight": rows(3, 2), "b": torch.full((2,), float(value))},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0), "exp_avg": rows(3, 2)}}}],
        "betas": (0.9, 0.99),
        "global_step": value,
    }


def write(checkpoint, path):
    write_folder(checkpoint, path, 0, lambda mine: [mine])


def plain(value):
    return {
        "state_dict": {"a.weight": torch.full((3, 2), value), "b": torch.full((2,), value)},
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.full((3, 2), value)}}}
        ],
        "betas": (0.9, 0.99),
        "global_step": int(value),
    }


def test_what_was_written_as_rows_is_read_whole(mesh, tmp_path):
    write(checkpoint(mesh, 7), tmp_path / "last.ckpt")
    assert_same(read_folder(tmp_path / "last.ckpt"), plain(7.0))


def test_rows_of_ranks_are_joined_in_their_order(mesh, tmp_path, monkeypatch):
    other = {"/state_dict/a.weight": torch.zeros(2, 2)}
    other["/optimizer_states/0/state/0/exp_avg"] = torch.zeros(0, 2)
    path = tmp_path / ".last.ckpt.partial"

    def gather(mine):
        return [mine, folders._write(other, path, "rank-0001")]

    write_folder(checkpoint(mesh, 7), tmp_path / "last.ckpt", 0, gather)
    found = read_folder(tmp_path / "last.ckpt")
    assert found["state_dict"]["a.weight"].tolist() == [[7, 7]] * 3 + [[0, 0]] * 2
    assert found["optimizer_states"][0]["state"][0]["exp_avg"].shape == (3, 2)


def test_a_tensor_that_is_not_sharded_by_rows_is_a_defect(mesh, tmp_path):
    with pytest.raises(AssertionError, match=r"a\.weight is not sharded by rows"):
        write(checkpoint(mesh, 7, Replicate()), tmp_path / "last.ckpt")


def test_the_files_are_named_by_their_hashes_and_only_those_that_count_are_there(mesh, tmp_path):
    path = tmp_path / "last.ckpt"
    for value in (1, 2, 3):
        write(checkpoint(mesh, value), path)
    files = read_index(path)
    assert {file.name for file in path.iterdir()} == {INDEX, *files}
    assert all(digest[:16] in name for name, digest in files.items())
    assert folder_size(path) == sum((path / name).stat().st_size for name in files)


def die_at(monkeypatch, nth):
    """Let the nth touch of the disk be the last."""
    count = iter(range(1, 1000))

    def dying(touch):
        def touched(*args, **options):
            if next(count) == nth:
                raise Dead
            return touch(*args, **options)

        return touched

    for owner, name in ((torch, "save"), (os, "fsync"), (Path, "unlink"), (Path, "mkdir"),
                        (Path, "replace"), (Path, "rename")):  # fmt: skip
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))


@pytest.mark.parametrize("before", [None, 1])
def test_a_save_that_dies_anywhere_leaves_the_old_checkpoint_or_the_new_one(mesh, tmp_path, before):
    path, seen = tmp_path / "last.ckpt", []
    for nth in range(1, 1000):
        if before:
            write(checkpoint(mesh, before), path)
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, nth)
            try:
                write(checkpoint(mesh, 2), path)
                break
            except Dead:
                pass
        seen.append(read_folder(path)["global_step"] if path.exists() else None)
        if not before and path.exists():
            folders.read_index(path)
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    assert set(seen) == {before, 2}
    assert seen == sorted(seen, key=[before, 2].index), "there is one moment at which it changes"
    assert {file.name for file in path.iterdir()} == {INDEX, *read_index(path)}


def test_a_reader_that_is_overtaken_by_a_save_reads_the_new_one(mesh, tmp_path, monkeypatch):
    path, read = tmp_path / "last.ckpt", folders._read
    write(checkpoint(mesh, 1), path)

    def overtaken(*args):
        monkeypatch.setattr(folders, "_read", read)
        write(checkpoint(mesh, 2), path)
        return read(*args)

    monkeypatch.setattr(folders, "_read", overtaken)
    assert read_folder(path)["global_step"] == 2


def test_files_of_another_rank_that_cannot_be_seen_are_told(mesh, tmp_path):
    lost = ("rank-0001-0.pt", "0")
    with pytest.raises(ValueError, match=r"rank-0001-0\.pt, of another rank, cannot be seen"):
        write_folder(checkpoint(mesh, 1), tmp_path / "last.ckpt", 0, lambda mine: [mine, lost])


class Foreign:
    def __reduce__(self):
        return print, ("unpickled",)


def test_foreign_code_in_a_folder_is_not_run(mesh, tmp_path, capsys):
    path = tmp_path / "last.ckpt"
    write({"evil": Foreign()}, path)
    with pytest.raises(Exception, match="Weights only load failed"):
        read_folder(path)
    assert "unpickled" not in capsys.readouterr().out


def test_an_index_of_another_layout_is_told(mesh, tmp_path):
    path = tmp_path / "last.ckpt"
    write(checkpoint(mesh, 1), path)
    (path / INDEX).write_text((path / INDEX).read_text().replace('"layout": 1', '"layout": 9'))
    with pytest.raises(ValueError, match="has layout 9, this code reads 1"):
        read_folder(path)
