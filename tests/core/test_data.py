"""Claims about ShardData: the order is pure, the split exact, and a resumed run sees the rest."""

import warnings
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from core.data import ShardData
from core.members import decode_npy, encode_npy
from core.shards import write_shards

ORIGIN = {"source": "made up", "licence": "CC0-1.0"}
SIZE, BATCH = 50, 4


class Numbers(ShardData):
    """Each sample is its own number, as an array and as a string."""

    members: ClassVar = {"number": "npy", "word": "txt"}
    embedding: ClassVar = "number.npy"

    def decode(self, members):
        return {"number": decode_npy(members["npy"]), "word": members["txt"].decode()}


class PartialNumbers(Numbers):
    partial: ClassVar = True

    def decode(self, members):
        fields = {"number": decode_npy(members["npy"])} if "npy" in members else {}
        return fields | ({"word": members["txt"].decode()} if "txt" in members else {})


def sample(i: int) -> dict:
    return {
        "__key__": f"{i:04d}",
        "npy": encode_npy(torch.full((2,), i, dtype=torch.uint8)),
        "txt": f"word {i}".encode(),
    }


def build(root: Path, size: int = SIZE) -> str:
    for split, count in {"train": size, "val": 10}.items():
        write_shards(root / split, map(sample, range(count)), required=["npy", "txt"],
                     per_shard=13, **ORIGIN)  # fmt: skip
    return str(root)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    return build(tmp_path_factory.mktemp("data") / "numbers")


def on_rank(data: ShardData, rank: int, world: int) -> ShardData:
    data.trainer = SimpleNamespace(
        global_rank=rank, world_size=world, limit_train_batches=1.0, training=True
    )
    return data


def train(data: ShardData) -> list[list[int]]:
    """Consume an epoch as the training loop does."""
    batches = [data.on_before_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    return [batch["index"].tolist() for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


class Log(lightning.LightningModule):
    """Learns nothing and remembers what it was given."""

    def __init__(self, crash_at: int | None = None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.crash_at, self.seen = crash_at, []

    def training_step(self, batch, batch_idx):
        if self.global_step == self.crash_at:
            raise InterruptedError
        self.seen.append((int(batch["epoch"]), batch["index"].tolist()))
        return self.weight * batch["number"].mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        self.trainer.estimated_stepping_batches  # noqa: B018 - builds the loader early
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(data, folder, *, steps=30, crash_at=None, resume=None, every=1, **options) -> list:
    module = Log(crash_at)
    saving = ModelCheckpoint(folder, every_n_train_steps=every, save_last=True, save_top_k=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(max_steps=steps, callbacks=[saving], logger=False,
                                    accelerator="cpu", enable_progress_bar=False,
                                    enable_model_summary=False, **options)  # fmt: skip
        try:
            trainer.fit(module, data, ckpt_path=resume, weights_only=True)
        except InterruptedError:
            assert crash_at is not None
    if crash_at is None:
        trainer.save_checkpoint(folder / "end.ckpt")
    return module.seen


def test_ranks_see_disjoint_samples_of_one_dataset(root):
    seen = [flat(train(on_rank(Numbers(root, batch_size=BATCH), r, 2))) for r in range(2)]
    assert len(seen[0]) == len(seen[1]) == 24
    assert not set(seen[0]) & set(seen[1])


def test_a_batch_holds_fields_index_and_epoch(root):
    batch = next(iter(Numbers(root, batch_size=BATCH).train_dataloader()))
    numbers = ((batch["number"] + 1) * 127.5).round().long()
    assert torch.equal(numbers, batch["index"][:, None].expand(-1, 2))
    assert batch["word"] == [f"word {i}" for i in batch["index"].tolist()]
    assert batch["epoch"].item() == 0
    assert "mask" not in batch


def test_length_is_the_number_of_batches(root):
    data = Numbers(root, batch_size=BATCH)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert len(list(loader)) == len(loader)


def test_a_kept_sample_equals_a_decoded_one(root):
    data = [Numbers(root, batch_size=BATCH, cache=cache) for cache in (True, False)]
    for _ in range(2):
        for kept, decoded in zip(*(d.train_dataloader() for d in data), strict=True):
            assert torch.equal(kept["number"], decoded["number"])
            assert kept["word"] == decoded["word"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_taken_after_a_batch_goes_on_with_the_next(root, workers):
    whole = on_rank(Numbers(root, batch_size=BATCH), 0, 1)
    epochs = [train(whole), train(whole)]
    assert epochs[0] != epochs[1]
    broken = on_rank(Numbers(root, batch_size=BATCH, workers=workers), 0, 1)
    for batch, _ in zip(broken.train_dataloader(), range(5), strict=False):
        broken.on_before_batch_transfer(batch, 0)
    resumed = on_rank(Numbers(root, batch_size=BATCH, workers=2 - workers), 0, 1)
    resumed.load_state_dict(broken.state_dict())
    assert [train(resumed), train(resumed)] == [epochs[0][5:], epochs[1]]


@pytest.mark.parametrize("crash_at", [1, 5, 11, 12, 13, 24, 29])
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 1, "val_check_interval": 5}])
def test_an_interrupted_fit_sees_the_batches_of_an_uninterrupted_one(
    root, tmp_path, crash_at, options
):
    def data():
        return Numbers(root, batch_size=BATCH)  # 12 batches an epoch

    whole = fit(data(), tmp_path / "whole", **options)
    first = fit(data(), tmp_path / "broken", crash_at=crash_at, **options)
    rest = fit(data(), tmp_path / "broken", resume=tmp_path / "broken" / "last.ckpt", **options)
    assert len(whole) == 30
    assert first + rest == whole


def test_a_fit_with_a_limit_resumes_exactly(root, tmp_path):
    def data():
        return Numbers(root, batch_size=BATCH)

    limit = {"limit_train_batches": 4, "steps": 10}
    whole = fit(data(), tmp_path / "whole", **limit)
    first = fit(data(), tmp_path / "broken", crash_at=6, **limit)
    rest = fit(data(), tmp_path / "broken", resume=tmp_path / "broken" / "last.ckpt", **limit)
    assert [epoch for epoch, _ in whole] == [0] * 4 + [1] * 4 + [2] * 2
    assert first + rest == whole


@pytest.mark.parametrize("steps", [11, 12, 13, 24])
def test_a_finished_fit_goes_on_when_given_more_steps(root, tmp_path, steps):
    whole = fit(Numbers(root, batch_size=BATCH), tmp_path / "whole")
    first = fit(Numbers(root, batch_size=BATCH), tmp_path / "part", steps=steps)
    end = tmp_path / "part" / "end.ckpt"
    assert first + fit(Numbers(root, batch_size=BATCH), tmp_path / "rest", resume=end) == whole


@pytest.mark.parametrize(
    ("options", "name"), [({"batch_size": 5}, "global_batch"), ({"seed": 1}, "seed")]
)
def test_resuming_in_another_order_is_an_error(root, options, name):
    state = Numbers(root, batch_size=BATCH).state_dict()
    with pytest.raises(ValueError, match=f"cannot resume: the checkpoint's {name}"):
        Numbers(root, **{"batch_size": BATCH} | options).load_state_dict(state)


def test_resuming_on_another_dataset_is_an_error(root, tmp_path):
    state = Numbers(root).state_dict()
    with pytest.raises(ValueError, match="dataset_id"):
        Numbers(build(tmp_path / "other", 51)).load_state_dict(state)


def test_more_ranks_with_smaller_batches_may_resume(root):
    state = Numbers(root, batch_size=8).state_dict()
    on_rank(Numbers(root, batch_size=4), 1, 2).load_state_dict(state)


def test_a_batch_larger_than_the_dataset_takes_all_of_it_and_says_so(root):
    data = Numbers(root, batch_size=64)
    with pytest.warns(UserWarning, match=r"50 usable samples, fewer .* 64 .* a batch takes 50"):
        (batch,) = data.train_dataloader()
    assert sorted(batch["index"].tolist()) == list(range(50))
    with pytest.warns(UserWarning, match="a batch takes 25"):
        (batch,) = on_rank(Numbers(root, batch_size=64), 1, 2).train_dataloader()
    assert len(batch["index"]) == 25


def test_a_split_without_what_is_trained_on_validates_nothing(root, tmp_path):
    other = [{"__key__": "0", "txt": b"no number"}]
    write_shards(tmp_path / "val", other, required=["txt"], source="", licence="")
    data = Numbers(root, val=str(tmp_path / "val"))
    with pytest.warns(UserWarning, match=r"no samples with .*; nothing is validated"):
        assert data.val_dataloader() == []


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": -1}, {"seed": -1}])
def test_nonsense_options_are_errors(root, options):
    with pytest.raises(ValueError, match="must be at least"):
        Numbers(root, **options)


def test_a_missing_dataset_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="holds no dataset"):
        Numbers(str(tmp_path / "absent")).train_dataloader()


def test_a_dataset_without_the_member_is_named(tmp_path):
    texts = ({"__key__": str(i), "txt": b"x"} for i in range(9))
    write_shards(tmp_path / "train", texts, required=["txt"], **ORIGIN)
    with pytest.raises(ValueError, match="no samples with npy, txt; its members are txt"):
        Numbers(str(tmp_path), batch_size=1).train_dataloader()


@pytest.fixture
def damaged(tmp_path) -> str:
    for split in ("train", "val"):
        bad = ({**sample(i), "npy": b"broken"} if i == 3 else sample(i) for i in range(10))
        write_shards(tmp_path / split, bad, required=["npy", "txt"], **ORIGIN)
    return str(tmp_path)


def test_a_damaged_sample_is_named_with_shard_and_key(damaged):
    with pytest.raises(ValueError, match=r"train/000000\.tar: sample 0003 cannot be decoded"):
        list(Numbers(damaged, batch_size=5).train_dataloader())


@pytest.mark.parametrize("cache", [True, False])
def test_a_skipped_sample_is_warned_of_replaced_and_masked(damaged, cache):
    data = Numbers(damaged, batch_size=5, on_error="skip", cache=cache)
    with pytest.warns(UserWarning, match="sample 0003"):
        seen = flat(train(on_rank(data, 0, 1)))
    assert sorted(seen) == [0, 1, 2, 4, 4, 5, 6, 7, 8, 9]
    with pytest.warns(UserWarning, match="sample 0003"):
        masks = torch.cat([batch["mask"] for batch in data.val_dataloader()])
    assert masks.tolist() == [True] * 3 + [False] + [True] * 6


def test_samples_of_another_shape_are_named(tmp_path):
    odd = ({**sample(i), "npy": encode_npy(torch.zeros(2 + i // 9))} for i in range(10))
    write_shards(tmp_path / "train", odd, required=["npy", "txt"], **ORIGIN)
    with pytest.raises(ValueError, match=r"sample 0009 has number of shape \[3\] but others \[2\]"):
        list(Numbers(str(tmp_path), batch_size=5).train_dataloader())


def partial_root(folder: Path) -> str:
    lacking = {0: "npy", 1: "txt"}
    parts = ({k: v for k, v in sample(i).items() if k != lacking.get(i % 3)} for i in range(9))
    write_shards(folder / "train", parts, required=(), optional=["npy", "txt"], **ORIGIN)
    return str(folder)


@pytest.mark.parametrize("cache", [True, False])
def test_partial_samples_come_with_masks_of_what_is_present(tmp_path, cache):
    data = PartialNumbers(partial_root(tmp_path), batch_size=3, cache=cache)
    for batch in data.train_dataloader():
        assert torch.equal(batch["present"]["number"], batch["index"] % 3 != 0)
        assert torch.equal(batch["present"]["word"], batch["index"] % 3 != 1)
        assert all((word == "") == (i % 3 == 1) for word, i in zip(batch["word"], batch["index"],
                                                                   strict=True))  # fmt: skip


def test_samples_without_what_a_complete_module_needs_are_left_out(tmp_path):
    data = Numbers(partial_root(tmp_path), batch_size=3)
    assert sorted(flat(train(on_rank(data, 0, 1)))) == [2, 5, 8]


def embed(root: str, folder: Path, of: str) -> str:
    for split, count in {"train": SIZE, "val": 10}.items():
        rows = (
            {"__key__": f"{i:04d}", "number.npy": encode_npy(torch.full((6,), float(i)))}
            for i in range(count)
        )
        of_split = Numbers(root, train=split).dataset_id if of == "same" else of
        write_shards(folder / split, rows, required=["number.npy"],
                     fields={"embedding_dim": 6, "of": of_split}, **ORIGIN)  # fmt: skip
    return str(folder)


def test_embeddings_come_as_the_condition_of_their_own_samples(root, tmp_path):
    data = Numbers(root, embeddings=embed(root, tmp_path, "same"), batch_size=BATCH)
    assert data.cond_dim == 6
    for batch in [*data.train_dataloader(), *data.val_dataloader()]:
        assert torch.equal(batch["cond"], batch["index"][:, None].float().expand(-1, 6))


def test_embeddings_of_another_dataset_are_an_error(root, tmp_path):
    data = Numbers(root, embeddings=embed(root, tmp_path, "other"), batch_size=BATCH)
    with pytest.raises(ValueError, match="embeddings of another dataset"):
        data.train_dataloader()


def test_without_embeddings_there_is_no_condition(root):
    assert Numbers(root).cond_dim == 0
