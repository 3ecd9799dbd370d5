"""Sharded training (FSDP2) is training in one process, and its folders are checkpoints like others.

Tolerances are those of test_ranks: float32 sums in another order differ in their last bits.
"""

import random
import shutil

import pytest
import torch

from core.checkpoint import export, read_checkpoint, show, verify
from tests.kills import arm_writing
from tests.ranks import (
    EVERY,
    assert_alike,
    assert_same_losses,
    assert_same_moments,
    forked,
    losses,
    torchrun,
    trained,
    trained_here,
)
from tests.training import TRAINERS

CLIP = "--trainer.gradient_clip_val=0.1"
"""Less than any gradient here is long, so that each is clipped by its length over all ranks."""


def sharded(world, out, ranks, *more, name="image"):
    assert forked(name, world, out, torchrun(ranks), CLIP, *more) == [0] * ranks
    return read_checkpoint(out / "last.ckpt"), losses(out)


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """Five steps of image training in one process."""
    out = tmp_path_factory.mktemp("whole")
    return trained_here("image", tiny_world, out, CLIP, "--trainer.max_steps=5")


@pytest.fixture(scope="module")
def two(tiny_world, tmp_path_factory):
    """The folder of three steps of the same by two ranks."""
    out = tmp_path_factory.mktemp("two")
    sharded(tiny_world, out, 2, "--trainer.max_steps=3", "--keep=2")
    return out


@pytest.fixture
def copy(two, tmp_path):
    """A checkpoint of two ranks that may be damaged."""
    return shutil.copytree(two / "last.ckpt", tmp_path / "last.ckpt")


@pytest.fixture
def going_on(two, tmp_path):
    """A new run's folder with the log of the first three steps, and how to go on from there."""
    (tmp_path / "metrics.csv").write_bytes((two / "metrics.csv").read_bytes())
    return tmp_path, ("--trainer.max_steps=5", f"--resume={two / 'last.ckpt'}")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_rows_of_two_ranks_go_on_with_any_number_as_if_one_process_had_done_it_all(
    ranks, whole, going_on, tiny_world
):
    out, options = going_on
    more = sharded(tiny_world, out, ranks, *options)
    assert_alike(whole, more)
    assert_same_moments(whole, more)


@pytest.mark.slow
def test_the_command_starts_the_ranks_itself(two, tiny_world, tmp_path):
    options = (CLIP, "--trainer.max_steps=3")
    started = trained("image.train", tiny_world, tmp_path, 2, *options, strategy="fsdp2")
    assert_alike((read_checkpoint(two / "last.ckpt"), losses(two)), started)


def test_rows_of_two_ranks_go_on_in_one_plain_process(whole, going_on, tiny_world):
    out, options = going_on
    more = trained_here("image", tiny_world, out, CLIP, *options)
    assert (out / "last.ckpt").is_file()
    assert_alike(whole, more)


def test_a_checkpoint_of_one_process_goes_on_sharded(whole, tiny_world, tmp_path):
    one, more = tmp_path / "one", tmp_path / "more"
    trained_here("image", tiny_world, one, CLIP, "--trainer.max_steps=3")
    more.mkdir()
    (more / "metrics.csv").write_bytes((one / "metrics.csv").read_bytes())
    resume = f"--resume={one / 'last.ckpt'}"
    assert_alike(whole, sharded(tiny_world, more, 2, "--trainer.max_steps=5", resume))


def test_text_trained_by_two_ranks_is_that_of_one_process(tiny_world, tmp_path):
    steps = "--trainer.max_steps=3"
    one = trained_here("text", tiny_world, tmp_path / "one", CLIP, steps)
    two = sharded(tiny_world, tmp_path / "two", 2, steps, name="text")
    assert_alike(one, two)
    assert (tmp_path / "two" / "samples" / "000003.txt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINERS)
def test_every_trainer_does_sharded_what_it_does_with_whole_copies(name, tiny_world, tmp_path):
    steps = "--trainer.max_steps=3"
    ddp, fsdp2 = tmp_path / "ddp", tmp_path / "fsdp2"
    assert forked(name, tiny_world, ddp, torchrun(2), CLIP, steps, strategy="ddp") == [0, 0]
    copies = read_checkpoint(ddp / "last.ckpt"), losses(ddp)
    rows = sharded(tiny_world, fsdp2, 2, steps, name=name)
    assert_same_losses(copies, rows)
    assert_same_moments(copies, rows)
    drawn = [sorted(p.name for p in run.glob("samples/*")) for run in (ddp, fsdp2)]
    assert drawn[0] == drawn[1]


def form(value):
    """Return what a checkpoint holds but for the numbers: names, types and shapes."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape
    if isinstance(value, dict):
        return type(value), {name: form(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [form(held) for held in value]
    return type(value)


def test_a_folder_reads_as_the_file_that_one_process_writes(whole, two):
    theirs = read_checkpoint(two / "last.ckpt", "image")
    assert form(theirs) == form({k: v for k, v in whole[0].items() if k != "sha256"})


def test_the_last_few_and_the_best_are_kept_and_nothing_else(two):
    found = sorted(str(path.relative_to(two)) for path in two.rglob("*.ckpt"))
    assert found == ["best.ckpt", "last.ckpt", "steps/00000002.ckpt", "steps/00000003.ckpt"]
    steps = [read_checkpoint(two / path)["global_step"] for path in found]
    assert steps == [3, 3, 2, 3]
    files = {len(list((two / path).iterdir())) for path in found}
    assert files == {4}, "an index, what is not sharded, and the rows of each of two ranks"


def test_a_folder_is_shown_verified_and_exported_like_a_file(two, tmp_path, capsys):
    last = two / "last.ckpt"
    show(last)
    assert "of each of 3 files, agrees" in capsys.readouterr().out
    verify(two)
    assert capsys.readouterr().out.count("image, whole") == 4
    export(last, tmp_path / "image.safetensors")
    exported, held = read_checkpoint(tmp_path / "image.safetensors", "image"), read_checkpoint(last)
    for name, value in (held["state_dict"] | held["ema"]).items():
        assert torch.equal(exported["state_dict"][name], value), name


def test_a_flipped_byte_is_found_wherever_it_is(copy, capsys):
    choose = random.Random(0)
    for file in sorted(copy.glob("*.pt")):
        good = file.read_bytes()
        place = choose.randrange(len(good))
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(ValueError, match="1 of 1 checkpoints cannot be used"):
            verify(copy)
        assert f"{file} is damaged: it has another hash" in capsys.readouterr().out
        file.write_bytes(good)
    verify(copy)


def test_a_lost_file_or_a_cut_index_is_told_in_one_line(copy):
    part = next(copy.glob("rank-0001-*.pt"))
    part.rename(copy / "elsewhere")
    with pytest.raises(ValueError, match=r"rank-0001-\w+\.pt is missing; restore it"):
        read_checkpoint(copy)
    index = copy / "index.json"
    index.write_text(index.read_text()[:40])
    with pytest.raises(ValueError, match=r"index\.json is damaged; restore it"):
        read_checkpoint(copy)
    index.unlink()
    with pytest.raises(ValueError, match=r"has no index\.json, so is no checkpoint"):
        read_checkpoint(copy)


@pytest.mark.parametrize(
    ("rank", "nth"),
    # Rank 0 writes two files a save, the others one; after step 3 the best is saved, then the last.
    [(1, 4), *(pytest.param(*place, marks=pytest.mark.slow) for place in ((1, 3), (0, 7), (0, 8)))],
)
def test_a_run_killed_while_it_saves_goes_on_as_if_it_had_not_been(
    rank, nth, whole, tiny_world, tmp_path
):
    def arm(own):
        if own == rank:
            arm_writing(nth, 0.5)

    run, steps = tmp_path / "run", "--trainer.max_steps=5"
    codes = forked("image", tiny_world, run, torchrun(2), CLIP, steps, arm=arm)
    assert codes == ([2, -9] if rank else [-9, 2])
    (line,) = [x for x in (tmp_path / "run.log").read_text().splitlines() if x.startswith("error")]
    assert line.startswith(f"error: rank {1 - rank} lost another rank")
    assert list(run.rglob("*.partial")), "it was killed in the midst of a file"
    verify(run)
    assert read_checkpoint(run / "last.ckpt", "image")["global_step"] == 2
    assert_alike(whole, sharded(tiny_world, run, 2, steps, f"--resume={run / 'last.ckpt'}"))
    assert list(run.rglob("*.partial")) == []


@pytest.mark.parametrize("strategy", ["fsdp2", "auto"])
def test_a_run_is_not_put_where_checkpoints_of_the_other_form_are(
    strategy, two, tiny_world, tmp_path, capsys
):
    if strategy == "auto":
        shutil.copytree(two / "last.ckpt", tmp_path / "last.ckpt")
    else:
        (tmp_path / "last.ckpt").write_bytes(b"a file")
    with pytest.raises(SystemExit) as stop:
        TRAINERS["image"].run(tiny_world, tmp_path, *EVERY, f"--trainer.strategy={strategy}")
    assert stop.value.code == 2
    assert "choose another --out (--resume takes both)" in capsys.readouterr().err


def test_muon_is_refused_in_one_line_that_says_the_way_out(tiny_world, tmp_path, capsys):
    options = [*EVERY, "--trainer.strategy=fsdp2", "--trainer.devices=2", "--trainer.max_steps=1"]
    with pytest.raises(SystemExit) as stop:
        TRAINERS["image"].run(tiny_world, tmp_path, *options, "--model.optim.rule=core.optim.Muon")
    assert stop.value.code == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert line == (
        "error: Muon needs whole matrices but --trainer.strategy=fsdp2 spreads their rows over the"
        " ranks; choose --model.optim.rule=core.optim.AdamW, or --trainer.strategy=ddp"
    )
