"""Claims about token windows, the batches of pretraining."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from core.order import evaluation_batches
from core.shards import ShardReader
from core.splits import write_splits
from text.data import TextData
from text.tokenizer import BOS, EOS, TextTokenizer
from text.tokens import tokens
from text.windows import IGNORE, Shifted, Windows

DOCUMENTS = [f"document {n}: " + "abcdefghij"[: n % 7 + 3] * (n % 5 + 1) for n in range(60)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Token shards of sixty documents, in pieces of fifty tokens."""
    folder = tmp_path_factory.mktemp("corpus")
    write_splits(
        folder / "texts",
        ({"txt": text.encode()} for text in DOCUMENTS),
        required=["txt"],
        dropped=Counter(),
        val_fraction=0.2,
        source="test",
        licence="none",
        builder={},
    )
    tokens(str(folder / "texts"), "char", folder / "tokens", piece=50)
    return folder / "tokens"


def stream(corpus: Path, split: str) -> np.ndarray:
    reader = ShardReader(corpus / split)
    return np.concatenate([windows(corpus, split, 7)._load(n) for n in range(len(reader))])


def windows(corpus: Path, split: str, context: int, **options) -> Windows:
    return Windows(ShardReader(corpus / split), context, BOS, **options)


@pytest.mark.parametrize("context", [7, 16, 50, 120])
def test_validation_covers_every_target_once(corpus, context):
    held, whole = windows(corpus, "val", context, whole=True), stream(corpus, "val")
    places, mask = evaluation_batches(len(held.usable), 3, 0, 1)
    found = []
    for row, real in zip(held.usable[places], mask, strict=True):
        batch, _ = held.select(row)
        found += [t[t != IGNORE] for t, real in zip(batch["targets"], real, strict=True) if real]
    expected = whole[1:][whole[1:] != BOS]
    assert torch.cat(found).tolist() == expected.tolist()


@pytest.mark.parametrize("epoch", range(5))
def test_an_epoch_has_each_window_once_side_by_side(corpus, epoch):
    held = windows(corpus, "train", 16)
    plan = Shifted(held.sizes, 16, 0, 4096, 4, 0, 1)(epoch)
    starts = np.sort(plan.positions.ravel())
    assert len(set(starts.tolist())) == len(starts) == len(held.usable) // 4 * 4
    assert (np.diff(starts) % 16 == 0).all()
    assert starts[-1] + 17 <= held.tokens


def test_epochs_start_at_different_places(corpus):
    held = windows(corpus, "train", 16)
    plan = Shifted(held.sizes, 16, 0, 4096, 4, 0, 1)
    assert len({int(plan(epoch).positions.min()) % 16 for epoch in range(20)}) > 5


def test_a_window_is_its_part_of_the_stream_whatever_stays_in_memory(corpus):
    whole = stream(corpus, "train")
    for keep in (True, False):
        batch, found = windows(corpus, "train", 70, keep=keep).select(np.array([3, 49, 50, 101]))
        assert found.tolist() == [3, 49, 50, 101]
        for row, start in enumerate(found):
            assert batch["tokens"][row].tolist() == whole[start : start + 70].tolist()
            expected = np.where(whole == BOS, IGNORE, whole.astype(int))[start + 1 : start + 71]
            assert batch["targets"][row].tolist() == expected.tolist()


def test_documents_are_numbered_where_they_are_kept_apart(corpus):
    batch, _ = windows(corpus, "train", 70, apart=True).select(np.array([0]))
    starts = (batch["tokens"][0] == BOS).nonzero().flatten().tolist()
    changes = batch["documents"][0].diff().nonzero().flatten() + 1
    assert changes.tolist() == [start for start in starts if start > 0]


def test_a_stream_of_less_than_two_windows_is_refused(corpus):
    with pytest.raises(ValueError, match="lower the model's context"):
        windows(corpus, "val", 10_000)


def damaged(corpus: Path, folder: Path) -> Path:
    """A copy of which one piece has a flipped byte."""
    import shutil

    copy = Path(shutil.copytree(corpus, folder / "copy"))
    reader = ShardReader(copy / "train")
    shard = copy / "train" / reader.manifest.shards[0].name
    data = bytearray(shard.read_bytes())
    data[int(reader.index[1]["start"]) + 700] ^= 1
    shard.write_bytes(data)
    return copy


def test_a_damaged_piece_is_named_or_counted_and_replaced(corpus, tmp_path):
    copy = damaged(corpus, tmp_path)
    with pytest.raises(ValueError, match="sample 00000001 is damaged"):
        windows(copy, "train", 16).select(np.array([60]))
    held = windows(copy, "train", 16, on_error="skip")
    with pytest.warns(UserWarning, match="skipped 1 pieces so far"):
        batch, found = held.select(np.array([60, 0]))
    assert found.tolist() == [110, 0]
    whole, _ = windows(corpus, "train", 16).select(found)
    assert torch.equal(batch["tokens"], whole["tokens"])


def test_another_tokenizer_beside_the_tokens_is_refused(corpus, tmp_path):
    import shutil

    copy = Path(shutil.copytree(corpus, tmp_path / "copy"))
    (copy / "tokenizer.json").write_text(TextTokenizer.train([], kind="byte").json)
    with pytest.raises(ValueError, match="was written with tokenizer"):
        _ = TextData(str(copy), 16).tokenizer
    (copy / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"tokenizer.json is not there"):
        _ = TextData(str(copy), 16).tokenizer


def run(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "text.train", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


SMALL = [
    "--model.model.width=32", "--model.model.depth=1", "--model.model.heads=2",
    "--model.model.prefix=0", "--model.model.context=16", "--data.batch_size=4",
    "--trainer.limit_val_batches=1.0", "--trainer.val_check_interval=4", "--samples=1",
    "--trainer.accelerator=cpu", "--trainer.max_steps=4",
]  # fmt: skip


def test_a_language_model_trains_and_measures_the_whole_split(corpus, tmp_path):
    done = run("--data.root", str(corpus), "--out", str(tmp_path / "run"), *SMALL)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "run" / "metrics.csv").read_text()
    assert "val/bits_per_byte" in table
    assert "val/perplexity" in table
    cost = (tmp_path / "run" / "cost.json").read_text()
    assert "tokens_per_second" in cost


def test_the_measured_loss_is_that_of_every_target(corpus):
    """Over batches of unequal numbers of targets the mean is still that of the targets."""
    import lightning as L

    from text.model import TextConfig
    from text.module import TextModule

    data = TextData(str(corpus), 16, batch_size=5)
    assert data.tokenizer is not None
    config = TextConfig(
        width=32, depth=1, heads=2, prefix=0, context=16, vocabulary=len(data.tokenizer)
    )
    module = TextModule(config)
    for parameter in module.net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    module.codec.use(data.tokenizer)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", barebones=False, **quiet)
    found = trainer.validate(module, data, verbose=False)[0]

    ids = torch.from_numpy(stream(corpus, "val").astype(np.int64))
    nats, count = 0.0, 0
    for start in range(0, len(ids) - 1, 16):
        row = ids[start : start + 17]
        log_p = module.net(row[None, :-1]).log_softmax(-1)[0]
        for t, target in enumerate(row[1:].tolist()):
            if target != BOS:
                nats, count = nats - float(log_p[t, target]), count + 1
    assert found["val/loss"] == pytest.approx(nats / count, rel=1e-4)
    size = sum(len(data.tokenizer.decode([i])) for i in ids.tolist() if i > EOS)
    expected = nats / np.log(2) / size
    assert found["val/bits_per_byte"] == pytest.approx(expected, rel=1e-4)
    assert found["val/perplexity"] == pytest.approx(np.exp(nats / count), rel=1e-4)
