"""Training on several processes is training on one: same batches, same gradients, same numbers.

Float32 sums in another order differ in their last bits: tolerances are absolute, of weights of
order 1 after five steps.
"""

import pytest

from core.checkpoint import read_checkpoint
from tests.ranks import (
    assert_alike,
    assert_same_losses,
    assert_same_moments,
    forked,
    launch,
    losses,
    torchrun,
    trained,
    trained_here,
)


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """Five steps of image training in one process."""
    out = tmp_path_factory.mktemp("whole")
    return trained("image.train", tiny_world, out, 1, "--trainer.max_steps=5")


@pytest.fixture(scope="module")
def two(tiny_world, tmp_path_factory):
    """Three steps of the same by two ranks, and the folder."""
    out = tmp_path_factory.mktemp("two")
    trained("image.train", tiny_world, out, 2, "--trainer.max_steps=3")
    return out


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_checkpoint_of_two_ranks_goes_on_with_any_number_as_if_one_had_done_it_all(
    ranks, whole, two, tiny_world, tmp_path
):
    resume = f"--resume={two / 'last.ckpt'}"
    (tmp_path / "metrics.csv").write_bytes((two / "metrics.csv").read_bytes())
    more = trained("image.train", tiny_world, tmp_path, ranks, "--trainer.max_steps=5", resume)
    assert_alike(whole, more)


def test_contrastive_training_with_gathered_negatives_is_that_of_one_process(tiny_world, tmp_path):
    one, two = (
        trained("multimodal.train", tiny_world, tmp_path / str(ranks), ranks,
                "--trainer.max_steps=3", name="alignment")
        for ranks in (1, 2)
    )  # fmt: skip
    # A step of unit length magnifies the last bits of the smallest gradients.
    assert_same_losses(one, two, tolerance=1e-4)
    assert_same_moments(one, two)


@pytest.mark.parametrize("name", ["text", "audio", "video", "prior"])
def test_two_ranks_do_what_one_process_does_also_where_samples_differ_in_what_they_teach(
    name, tiny_world, tmp_path
):
    options = ("--trainer.max_steps=3", "--trainer.gradient_clip_val=0.1")
    one = trained_here(name, tiny_world, tmp_path / "one", *options)
    out = tmp_path / "two"
    assert forked(name, tiny_world, out, torchrun(2), *options, strategy="ddp") == [0, 0]
    two = read_checkpoint(out / "last.ckpt"), losses(out)
    assert_same_moments(one, two)
    for row, again in zip(one[1], two[1], strict=True):
        assert again["train/loss"] == pytest.approx(row["train/loss"], abs=1e-5)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_that_share_the_work_of_muon_do_what_one_process_does(ranks, tiny_world, tmp_path):
    options = ("--trainer.max_steps=3", "--model.optim.rule=core.optim.Muon")
    one = trained_here("image", tiny_world, tmp_path / "one", *options)
    out = tmp_path / "more"
    places = torchrun(ranks)
    assert forked("image", tiny_world, out, places, *options, strategy="ddp") == [0] * ranks
    more = read_checkpoint(out / "last.ckpt"), losses(out)
    assert_same_moments(one, more)
    assert_same_losses(one, more)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_ends_the_job_in_one_line(rank, tiny_world, tmp_path):
    done = launch(f"tests.dying_rank {rank}", tiny_world, tmp_path, 2, "--trainer.max_steps=5")
    assert done.returncode in (2, -9)
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error")]
    assert line.startswith(f"error: rank {1 - rank} lost another rank")
    assert line.endswith(f"go on with --resume {tmp_path}/last.ckpt")
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
