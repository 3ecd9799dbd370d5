"""The text trainer: next-token prediction under a condition that is sometimes left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from core.embeddings import corrupt
from core.files import existing_file
from core.module import TrainedModule
from core.noise import seeds_tensor, uniform
from core.optim import OptimConfig
from text.files import write_text
from text.model import TextConfig, TextModel
from text.sampling import TextOptions, write
from text.tokenizer import PAD, TextCodec, TextTokenizer

FITTING = 64
"""Batches of training texts from which the tokenizer is learned."""


@dataclass(frozen=True)
class Conditioning:
    """What the condition goes through in training."""

    drop: float = 0.1
    """Share of samples whose condition is replaced by the learned null prefix."""
    noise: float = 0.4
    """Length of the Gaussian noise added to the unit condition before it is renormalised."""

    def __post_init__(self):
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop is {self.drop} but must be a share from 0 to below 1")
        if self.noise < 0:
            raise ValueError(f"noise is {self.noise} but must be 0 or more")


class TextModule(TrainedModule):
    """A tokenizer and a decoder-only transformer; a batch holds `text`, and `cond` if any."""

    kind = "text"

    def __init__(
        self,
        model: TextConfig = TextConfig(),
        conditioning: Conditioning = Conditioning(),
        optim: OptimConfig = OptimConfig(),
        tokenizer: str | None = None,
        cond_dim: int = 0,
        seed: int = 0,
    ):
        """Build the codec and the network.

        Args:
            model: Size of the vocabulary and of the network.
            conditioning: What the condition goes through in training.
            optim: Optimiser and schedule.
            tokenizer: A tokenizer.json to use; by default one is learned from the training texts.
            cond_dim: Width of the condition; 0 trains a plain language model. Linked from the data.
            seed: Seed of the conditioning; linked from --seed_everything.
        """
        super().__init__(optim, seed)
        self.save_hyperparameters(logger=False)
        self.conditioning, self.tokenizer, self.cond_dim = conditioning, tokenizer, cond_dim
        self.codec = TextCodec(model.vocabulary)
        self.net = TextModel(model, cond_dim)

    def on_fit_start(self) -> None:
        """Settle the tokenizer, unless a checkpoint brought one."""
        if self.codec.fitted:
            return
        if self.tokenizer is not None:
            self.codec.use(TextTokenizer(existing_file(self.tokenizer).read_text("utf-8")))
            return
        batches = self.first_batches(FITTING)
        self.codec.fit(text for batch in batches for text in batch["text"])

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the mean loss of a token."""
        loss = self.loss(self._encode(batch), batch.get("cond"), self.seeds(batch))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the loss a token and the bits a byte, with noise that never changes."""
        ids = self._encode(batch)
        ids[~batch.get("mask", torch.ones_like(ids[:, 0], dtype=torch.bool))] = PAD
        loss = self.loss(ids, batch.get("cond"), self.seeds(batch))
        tokens = int((ids[:, 1:] != PAD).sum())
        self.log("val/loss", loss, prog_bar=True, batch_size=tokens)
        size = sum(map(len, map(str.encode, self.codec.decode(ids))))
        bits = loss * tokens / size / math.log(2)
        self.log("val/bits_per_byte", bits, batch_size=size)

    def loss(
        self,
        ids: Int[Tensor, "B T"],
        cond: Float[Tensor, "B E"] | None,
        seeds: Int[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of each token given those before it, padding left out."""
        keep = uniform(seeds, stream=3) >= self.conditioning.drop
        cond = cond if cond is None else corrupt(cond, seeds, self.conditioning.noise)
        logits_BTV = self.net(ids[:, :-1], cond, keep=keep)
        return self.mean_over_ranks(*next_token_loss(logits_BTV, ids[:, 1:]))

    @torch.no_grad()
    def generate(
        self,
        cond: Float[Tensor, "B E"] | None,
        options: TextOptions = TextOptions(),
        *,
        seeds: Sequence[int],
    ) -> list[str]:
        """Return one text a seed, given embeddings of texts (None: unconditional)."""
        if cond is not None and len(cond) != len(seeds):
            raise ValueError(f"{len(cond)} embeddings but {len(seeds)} seeds; give one seed each")
        if cond is not None and cond.shape[1] != self.cond_dim:
            raise ValueError(
                f"an embedding of width {cond.shape[1]} does not fit this model, which was "
                f"trained with width {self.cond_dim}; embed with the same towers"
            )
        if not seeds:
            return []
        cond = cond if cond is None else cond.to(self.device)
        tokens = len(self.codec.tokenizer)
        ids = write(self.net, cond, options, seeds_tensor(seeds, self.device), tokens)
        return self.codec.decode(ids)

    def write_samples(self, stem: Path, batch: dict[str, Any]) -> None:
        """Write texts of a batch, and below each what its embedding gives."""
        real, cond = batch["text"][:8], batch.get("cond")
        written = self.generate(cond if cond is None else cond[:8], seeds=range(len(real)))
        lines = [f"{a}\n    {b}" for a, b in zip(real, written, strict=True)]
        write_text(stem.with_suffix(".txt"), "\n".join(lines))

    def _encode(self, batch: dict[str, Any]) -> Int[Tensor, "B T"]:
        return self.codec.encode(batch["text"], self.net.config.context).to(self.device)


def next_token_loss(
    logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Return the sum of the cross-entropy in nats, padding left out, and the number of targets."""
    flat = logits.float().flatten(0, 1)
    total = F.cross_entropy(flat, targets.flatten(), ignore_index=PAD, reduction="sum")
    return total, (targets != PAD).sum()
