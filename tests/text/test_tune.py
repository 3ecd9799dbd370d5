"""Claims about fine-tuning on conversations: replay, adapters, exact resumes, what is measured."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoint import AtomicCheckpointIO, describe, load_module, read_checkpoint
from core.cli import guard
from core.splits import write_splits
from core.train_cli import train
from tests.training import assert_same, latest
from text.answers import answers
from text.chat_data import ChatData, Replay
from text.chat_template import Message
from text.conversations import conversations
from text.data import TextData
from text.lora import join, load, save
from text.model import TextConfig
from text.module import TextModule
from text.tokens import tokens
from text.tune import TuneCLI

SMALL = ("--model.model.width=16", "--model.model.depth=1", "--model.model.heads=2",
         "--model.model.context=32", "--model.model.prefix=0")  # fmt: skip
QUICK = ("--trainer.accelerator=cpu", "--samples=1", "--data.batch_size=4",
         "--trainer.limit_val_batches=2", "--trainer.val_check_interval=5",
         "--model.optim.schedule.decay=0")  # fmt: skip
LORA = ("--model.lora.rank=2", "--model.optim.rule=core.optim.AdamW")


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """Return a folder with a corpus, a model that was trained on it, and conversations."""
    folder = tmp_path_factory.mktemp("desk")
    texts = [f"document {n}: " + "abcdefghij"[: n % 7 + 3] * (n % 5 + 1) for n in range(60)]
    about = {"source": "test", "licence": "none", "builder": {}}
    samples = ({"txt": text.encode()} for text in texts)
    write_splits(folder / "texts", samples, required=["txt"], dropped=Counter(),
                 val_fraction=0.2, **about)  # fmt: skip
    tokens(str(folder / "texts"), "char", folder / "corpus", chat=True, piece=50)
    train(TextModule, TextData, [f"--data.root={folder / 'corpus'}", f"--out={folder / 'base'}",
                                 "--trainer.max_steps=3", *SMALL, *QUICK])  # fmt: skip
    lines = [{"messages": [{"role": "user", "content": f"say {n}"},
                           {"role": "assistant", "content": f"{n}" * (n % 3 + 1)}]}
             for n in range(90)]  # fmt: skip
    (folder / "chats.jsonl").write_text("\n".join(map(json.dumps, lines)))
    base = str(folder / "base" / "last.ckpt")
    conversations(folder / "chats.jsonl", base, folder / "chat", val_fraction=0.2)
    return folder


def tune(desk: Path, out: Path, *more: str, init: bool = True) -> None:
    words = [f"--data.root={desk / 'chat'}", f"--out={out}", *QUICK, *more]
    words += [f"--init={desk / 'base' / 'last.ckpt'}"] if init else []
    guard(lambda: TuneCLI(TextModule, ChatData, latest(words)))


def replay(desk: Path, share: float) -> tuple[str, str]:
    return f"--data.replay.root={desk / 'corpus'}", f"--data.replay.share={share}"


def read(folder: Path):
    return torch.load(folder / "last.ckpt", weights_only=True)


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


WAYS = {"full": (), "LoRA": LORA}


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_tuning_with_replay_equals_an_uninterrupted_one(way, desk, tmp_path):
    """Seven steps of five an epoch of conversations, with stops after the second and the sixth."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = (*WAYS[way], *replay(desk, 0.5))
    tune(desk, whole, "--trainer.max_steps=7", *options)
    tune(desk, broken, "--trainer.max_steps=2", *options)
    for steps in (6, 7):
        shape = [f"--config={broken / 'config.yaml'}", f"--resume={broken / 'last.ckpt'}"]
        tune(desk, broken, *shape, f"--trainer.max_steps={steps}", init=False)
    ours, theirs = read(broken), read(whole)
    for part in ("state_dict", "ema", "optimizer_states", "global_step", "ChatData"):
        assert_same(ours[part], theirs[part], part)


def test_what_is_started_from_is_measured_before_the_first_step(desk, tmp_path):
    whole = "--trainer.limit_val_batches=1.0"
    tune(desk, tmp_path, "--trainer.max_steps=5", *replay(desk, 0), whole)
    rows = [row for row in metrics(tmp_path) if row.get("val_pretraining/loss")]
    assert [row["step"] for row in rows] == ["0", "4"]
    module = load_module(desk / "base" / "last.ckpt", TextModule)
    data = TextData(str(desk / "corpus"), context=32, batch_size=4)
    total = count = 0.0
    for batch in data.val_dataloader():
        targets = batch["targets"].masked_fill(~batch["mask"][:, None], -100)
        with torch.no_grad():
            logits = module.net(batch["tokens"]).flatten(0, 1)
        nats = torch.nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum")
        total, count = total + float(nats), count + int((targets != -100).sum())
    assert float(rows[0]["val_pretraining/loss"]) == pytest.approx(total / count, rel=1e-4)
    assert float(rows[1]["val/loss"]) < float(rows[0]["val/loss"])


def test_a_model_tuned_by_adapters_keeps_the_weights_of_its_base(desk, tmp_path):
    tune(desk, tmp_path, "--trainer.max_steps=3", *LORA)
    base, tuned = read_checkpoint(desk / "base" / "last.ckpt"), read(tmp_path)
    start = base["state_dict"] | base["ema"]
    new = {n for n in tuned["state_dict"] if ".adapters." in n}
    for name, weight in start.items():
        assert torch.equal(tuned["state_dict"][name], weight), name
    assert tuned["state_dict"].keys() == start.keys() | new
    assert tuned["ema"].keys() == new
    held = tuned["optimizer_states"][0]["state"]
    assert len(held) == len(new)


def batches(desk: Path, count: int, **options) -> list[dict]:
    data = ChatData(str(desk / "chat"), context=32, batch_size=4, **options)
    samples = data._open("train")
    plan = data.plan(samples, 4, 0, 1)
    found = []
    for epoch in range(count):
        for positions in plan(epoch).positions:
            found.append(samples.select(positions)[0] | {"at": positions})
    return found


def test_the_share_of_rows_that_is_replayed_is_that_which_was_asked_for(desk):
    plain, mixed = batches(desk, 2), batches(desk, 2, replay=Replay(str(desk / "corpus"), 0.25))
    rows = len(ChatData(str(desk / "chat"), context=32)._open("train").reader)
    assert all((batch["at"] < rows).sum() == 4 for batch in plain)
    assert all((batch["at"] < rows).tolist() == [True] * 3 + [False] for batch in mixed)
    for batch in mixed:  # every target of a window is learned but begins of documents
        assert (batch["targets"][3] != -100).sum() > 25
        assert (batch["documents"][3] == 1).all()


def test_the_corpus_goes_on_through_its_own_epochs(desk):
    mixed = batches(desk, 6, replay=Replay(str(desk / "corpus"), 0.5))
    data = TextData(str(desk / "corpus"), context=32, batch_size=2)
    samples = data._open("train")
    plan = data.plan(samples, 2, 0, 1)
    rows = len(ChatData(str(desk / "chat"), context=32)._open("train").reader)
    size = len(plan(0).positions)
    expected = np.concatenate([plan(e).positions for e in range(len(mixed) // size + 1)])
    found = np.stack([batch["at"][2:] - rows for batch in mixed])
    assert np.array_equal(found, expected[: len(mixed)])


def test_a_share_that_leaves_one_of_the_two_without_rows_is_refused(desk):
    for share in (0.1, 0.95):
        with pytest.raises(ValueError, match=rf"a share of {share} of 4 rows"):
            batches(desk, 1, replay=Replay(str(desk / "corpus"), share))
    with pytest.raises(ValueError, match=r"share is 1\.0"):
        Replay("corpus", 1.0)


def test_a_resume_with_another_share_is_refused_in_one_line(desk, tmp_path, capsys):
    tune(desk, tmp_path, "--trainer.max_steps=2", *replay(desk, 0.25))
    shape = [f"--config={tmp_path / 'config.yaml'}", f"--resume={tmp_path / 'last.ckpt'}"]
    with pytest.raises(SystemExit) as stop:
        tune(desk, tmp_path, *shape, "--data.replay.share=0.5", init=False)
    assert stop.value.code == 2
    assert "cannot resume: the checkpoint's replayed is 0.25" in capsys.readouterr().err


def test_rows_longer_than_the_models_context_are_refused_in_one_line(desk, tmp_path, capsys):
    out = tmp_path / "long"
    conversations(desk / "chats.jsonl", str(desk / "chat" / "tokenizer.json"), out, context=64)
    with pytest.raises(SystemExit) as stop:
        tune(desk, tmp_path / "run", f"--data.root={out}")
    assert stop.value.code == 2
    assert "rows of 64 tokens but the model's context is 32" in capsys.readouterr().err


def test_saved_adapters_beside_their_base_are_the_tuned_model_and_so_is_the_merged_one(
    desk, tmp_path
):
    tune(desk, tmp_path / "tuned", "--trainer.max_steps=3", *LORA)
    base, tuned = desk / "base" / "last.ckpt", tmp_path / "tuned" / "last.ckpt"
    save(tuned, tmp_path / "adapter")
    load(base, tmp_path / "adapter", tmp_path / "loaded.ckpt")
    join(base, tmp_path / "merged.ckpt", tmp_path / "adapter")
    join(tuned, tmp_path / "also_merged.ckpt")
    ids = torch.arange(20).view(2, 10)
    expected = load_module(tuned, TextModule).net(ids)
    assert not torch.equal(load_module(base, TextModule).net(ids), expected)
    assert torch.equal(load_module(tmp_path / "loaded.ckpt", TextModule).net(ids), expected)
    for name in ("merged.ckpt", "also_merged.ckpt"):
        merged = load_module(tmp_path / name, TextModule)
        torch.testing.assert_close(merged.net(ids), expected, rtol=1e-5, atol=1e-5)
        assert merged.hparams["lora"] is None


def test_a_model_overfits_a_few_answers_and_gives_them_greedily(desk, tmp_path):
    tune(desk, tmp_path, "--trainer.max_steps=150", "--data.batch_size=8",
         "--model.optim.rule=core.optim.AdamW", "--model.optim.rule.lr=0.01")  # fmt: skip
    module = load_module(tmp_path / "last.ckpt", TextModule)
    asked = [[Message("user", f"say {n}")] for n in range(90)]
    given = answers(module.net, module.codec.tokenizer, asked, max_tokens=8, batch_size=7)
    for one, answer in zip(asked[:9], given, strict=False):
        assert answers(module.net, module.codec.tokenizer, [one], max_tokens=8) == [answer]
    right = [f"{n}" * (n % 3 + 1) == answer for n, answer in enumerate(given)]
    assert np.mean(right) > 0.2


def test_a_table_larger_than_the_tokenizer_is_tuned_and_resumed(desk, tmp_path):
    """As models of others have it, whose tables are rounded up."""
    torch.manual_seed(0)
    codec = load_module(desk / "base" / "last.ckpt", TextModule).codec.tokenizer
    rows = len(codec) + 7
    module = TextModule(TextConfig(16, 1, 2, context=32, vocabulary=rows, prefix=0))
    module.codec.use(codec)
    held = {"state_dict": module.state_dict(), "unison": describe(module)}
    AtomicCheckpointIO().save_checkpoint(held, tmp_path / "larger.ckpt")
    run = tmp_path / "run"
    tune(desk, run, f"--init={tmp_path / 'larger.ckpt'}", "--trainer.max_steps=1", init=False)
    shape = [f"--config={run / 'config.yaml'}", f"--resume={run / 'last.ckpt'}"]
    tune(desk, run, *shape, "--trainer.max_steps=2", init=False)
    assert read(run)["global_step"] == 2
    assert load_module(run / "last.ckpt", TextModule).net.config.vocabulary == rows


def test_a_model_with_condition_tokens_is_refused_in_one_line(desk, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        tune(desk, tmp_path, "--model.model.prefix=2", "--model.model.context=32", init=False)
    assert stop.value.code == 2
    assert "the model has 2 condition tokens" in capsys.readouterr().err
