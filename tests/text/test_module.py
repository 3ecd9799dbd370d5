"""Claims about the text trainer."""

import math

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from core.checkpoint import load_module
from core.optim import AdamW, OptimConfig
from text.model import TextConfig
from text.module import Conditioning, Rows, TextModule, next_token_loss
from text.sampling import TextOptions
from text.tokenizer import PAD, TextTokenizer
from text.windows import IGNORE

TEXTS = [
    "a big red seven moves left",
    "the tiny blue three stays still",
    "a huge green one moves up",
    "small cyan nine",
]
NET = TextConfig(width=32, depth=2, heads=2, context=32, vocabulary=300, prefix=2)
GREEDY = TextOptions(temperature=0.0, guidance=1.0)


class OneBatch(L.LightningDataModule):
    """The same four captions, each with its own unit vector as condition, at every step."""

    def train_dataloader(self):
        return DataLoader([batch(epoch) for epoch in range(1000)], batch_size=None)


def batch(epoch: int = 0) -> dict:
    index = torch.arange(len(TEXTS))
    return {"text": TEXTS, "cond": torch.eye(8)[:4], "index": index, "epoch": torch.tensor(epoch)}


def train(module: TextModule, steps: int, folder) -> L.Trainer:
    trainer = L.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        default_root_dir=folder,
    )
    trainer.fit(module, OneBatch())
    return trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[TextModule, L.Trainer]:
    torch.manual_seed(0)
    optim = OptimConfig(rule=AdamW(lr=5e-3))
    module = TextModule(NET, Conditioning(drop=0.25, noise=0.1), optim, cond_dim=8)
    trainer = train(module, 120, tmp_path_factory.mktemp("run"))
    return module.eval(), trainer


def test_it_overfits_one_batch_and_tells_its_conditions_apart(trained):
    module, _ = trained
    assert module.generate(torch.eye(8)[:4], GREEDY, seeds=range(4)) == TEXTS


def test_without_a_condition_it_writes_what_it_has_seen(trained):
    module, _ = trained
    texts = module.generate(None, TextOptions(top_k=8), seeds=range(32))
    assert sum(text in TEXTS for text in texts) >= 16
    assert len(set(texts)) >= 3


def test_the_first_loss_is_log_vocabulary():
    module = TextModule(NET, cond_dim=8)
    loss = module.training_step(batch(), 0)
    assert loss.item() == pytest.approx(math.log(300), rel=1e-5)


def test_neither_prefix_nor_padding_gets_loss():
    torch.manual_seed(0)
    module = TextModule(NET, Conditioning(drop=0.0, noise=0.0), cond_dim=8)
    torch.nn.init.ones_(module.net.norm.weight)
    ids, cond, seeds = module.codec.encode(TEXTS, 32), torch.eye(8)[:4], torch.arange(4)
    log_p = module.net(ids, cond).log_softmax(-1)
    terms = [
        -log_p[b, t, ids[b, t + 1]]
        for b in range(4)
        for t in range(ids.shape[1] - 1)
        if ids[b, t + 1] != PAD
    ]
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == PAD, IGNORE)
    loss = module.loss(Rows(ids[:, :-1], targets), cond, seeds)
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    longer = Rows(F.pad(ids[:, :-1], (0, 3)), F.pad(targets, (0, 3), value=IGNORE))
    torch.testing.assert_close(module.loss(longer, cond, seeds), loss)


def test_the_loss_of_certain_predictions_is_zero():
    targets = torch.tensor([[3, 4, IGNORE]])
    logits = 100 * F.one_hot(torch.tensor([[3, 4, 9]]), 12).float()
    total, count = next_token_loss(logits, targets)
    assert total.item() == pytest.approx(0, abs=1e-6)
    assert count == 2


def test_the_checkpoint_alone_rebuilds_tokenizer_and_texts(trained, tmp_path):
    module, trainer = trained
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = load_module(tmp_path / "last.ckpt", TextModule)
    assert again.codec.tokenizer.json == module.codec.tokenizer.json
    cond = torch.eye(8)[:4]
    options = TextOptions(temperature=1.0)
    assert again.generate(cond, options, seeds=range(4)) == module.generate(
        cond, options, seeds=range(4)
    )


def test_a_text_does_not_depend_on_its_neighbours(trained):
    module, _ = trained
    together = module.generate(None, seeds=range(8))
    assert [module.generate(None, seeds=[seed])[0] for seed in range(8)] == together


def test_the_seed_matters(trained):
    module, _ = trained
    assert len(set(module.generate(None, seeds=range(16)))) > 1


def test_conditions_of_another_width_or_number_are_errors(trained):
    module, _ = trained
    with pytest.raises(ValueError, match="width 5"):
        module.generate(torch.ones(1, 5), seeds=[0])
    with pytest.raises(ValueError, match="one seed each"):
        module.generate(torch.ones(3, 8), seeds=[0])


def test_a_fitted_tokenizer_is_kept_by_a_second_fit(trained, tmp_path):
    module, _ = trained
    before = module.codec.tokenizer.json
    module.train()
    train(module, 1, tmp_path)
    assert module.eval().codec.tokenizer.json == before


def test_a_tokenizer_file_can_be_given(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(TextTokenizer.train(["left left left"], 270).json)
    module = TextModule(NET, tokenizer=str(path), cond_dim=8)
    train(module, 1, tmp_path)
    assert module.codec.tokenizer.json == path.read_text()
    larger = TextModule(TextConfig(width=32, vocabulary=260), tokenizer=str(path), cond_dim=8)
    with pytest.raises(ValueError, match="does not fit a vocabulary of 260"):
        train(larger, 1, tmp_path)


@pytest.mark.parametrize("wrong", [{"drop": 1.0}, {"noise": -0.1}])
def test_nonsense_training_settings_are_errors(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Conditioning(**wrong)
