"""Claims about training a language model on a stream of tokens."""

import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.training import Trainer, assert_same
from text.data import TextData
from text.model import TextConfig, TextModel
from text.module import Rows, TextModule
from text.throughput import flops_per_token, utilisation
from text.tokenizer import TextTokenizer
from text.windows import IGNORE

LANGUAGE = Trainer("language", TextModule, TextData, (), embeddings=False)
SHAPE = (
    "--model.model.width=32", "--model.model.depth=1", "--model.model.heads=2",
    "--model.model.prefix=0", "--model.model.context=64", "--model.model.dropout=0.2",
    "--data.batch_size=40", "--model.optim.schedule.decay=0", "--trainer.log_every_n_steps=1",
    "--data.packing=apart", "--data.cache=false",
)  # fmt: skip
VARIATIONS = {
    "nothing more": (),
    "accumulation": ("--trainer.accumulate_grad_batches=2",),
    "two workers": ("--data.workers=2",),
}


@pytest.mark.parametrize("variation", VARIATIONS)
def test_it_resumes_bitwise_in_mid_epoch_and_at_its_end(variation, token_shards, tmp_path):
    """An epoch has three batches: of five steps some end in its midst, and some with it."""
    options = (*SHAPE, *VARIATIONS[variation])
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    LANGUAGE.run(token_shards, whole, *options, "--trainer.max_steps=5")
    last = f"--resume={broken / 'last.ckpt'}"
    for stop in (2, 3, 4, 5):
        resumed = () if stop == 2 else (last,)
        LANGUAGE.run(token_shards, broken, *options, f"--trainer.max_steps={stop}", *resumed)
    assert_same_runs(broken, whole)
    assert (broken / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


@pytest.mark.parametrize("variation", VARIATIONS)
def test_it_resumes_bitwise_from_every_checkpoint(variation, token_shards, tmp_path):
    options = (*SHAPE, *VARIATIONS[variation], "--trainer.max_steps=5", "--samples=0")
    whole = tmp_path / "whole"
    LANGUAGE.run(token_shards, whole, *options, "--save_every=1", "--keep=5")
    for step in range(1, 5):
        again, past = tmp_path / str(step), whole / "steps" / f"{step:08d}.ckpt"
        LANGUAGE.run(token_shards, again, *options, f"--resume={past}")
        assert_same_runs(again, whole)


def assert_same_runs(one, other):
    ours, theirs = (torch.load(run / "last.ckpt", weights_only=True) for run in (one, other))
    for part in ("state_dict", "ema", "optimizer_states", "lr_schedulers", "TextData"):
        assert_same(ours[part], theirs[part], part)
    assert ours["TextData"]["epoch"] > 0


def test_a_checkpoint_with_another_tokenizer_is_refused(token_shards, tmp_path, capsys):
    other = TextTokenizer.train(["other characters"], kind="char")
    (tmp_path / "tokenizer.json").write_text(other.json)
    argv = (*SHAPE, f"--model.tokenizer={tmp_path / 'tokenizer.json'}", "--trainer.max_steps=1")
    with pytest.raises(SystemExit) as error:
        LANGUAGE.run(token_shards, tmp_path / "run", *argv)
    assert error.value.code == 2
    assert "is tokenizer" in capsys.readouterr().err


def test_dropout_is_there_in_training_only():
    torch.manual_seed(0)
    model = TextModel(TextConfig(width=32, depth=2, heads=2, dropout=0.5))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ids = torch.randint(500, (2, 9))
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))


@pytest.mark.parametrize("tied", [True, False])
def test_the_arithmetic_of_a_token_is_what_torch_counts(tied):
    config = TextConfig(width=32, depth=2, heads=2, context=64, prefix=0, tied=tied)
    module = TextModule(config)
    for block in module.net.blocks:  # or the gradients of what is behind zeros are not needed
        torch.nn.init.ones_(block.attention.out.weight)
    rows = Rows(torch.randint(3, 500, (1, 64)), torch.randint(3, 500, (1, 64)))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        module.loss(rows, None, torch.zeros(1, dtype=torch.long)).backward()
    assert counter.get_total_flops() / 64 == pytest.approx(flops_per_token(module.net), rel=0.01)


def test_only_a_known_device_has_a_utilisation():
    assert utilisation(1e12, torch.device("cpu")) is None


def test_targets_that_are_ignored_have_no_gradient():
    module = TextModule(TextConfig(width=32, depth=1, heads=2, prefix=0))
    tokens = torch.randint(3, 500, (2, 16))
    targets = torch.full_like(tokens, IGNORE)
    module.loss(Rows(tokens, targets), None, torch.zeros(2, dtype=torch.long)).backward()
    assert all(p.grad is None or not p.grad.any() for p in module.parameters())


@pytest.mark.slow
def test_a_compiled_network_trains_as_the_plain_one(token_shards, tmp_path):
    options = (f"--data.root={token_shards}", *SHAPE, "--trainer.max_steps=3", "--samples=0")
    for name, more in {"plain": (), "compiled": ("--model.compile=true",)}.items():
        words = (*options, f"--out={tmp_path / name}", "--model.model.dropout=0", *more)
        # In a process of its own: what checks shapes in tests cannot be compiled.
        done = subprocess.run([sys.executable, "-m", "text.train", *words], check=False)
        assert done.returncode == 0
    plain, compiled = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("plain", "compiled")
    )
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, atol=1e-3, rtol=1e-2)
