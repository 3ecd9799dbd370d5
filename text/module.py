"""The text trainer: next-token prediction, of captions under a condition or of plain text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from core.compiling import compile_in_place
from core.embeddings import corrupt
from core.errors import UserError
from core.module import TrainedModule
from core.noise import seeds_tensor, uniform
from core.optim import OptimConfig
from text.files import write_text
from text.low_rank import LoRA, adapt
from text.model import TextConfig, TextModel
from text.sampling import TextOptions
from text.throughput import flops_per_token, utilisation
from text.token_bytes import token_bytes
from text.tokenizer import TextCodec
from text.tokenizer_files import read_tokenizer
from text.windows import IGNORE
from text.writing import Alphabet, write

FITTING = 64
"""Batches of training texts from which the tokenizer is learned."""


class Rows(NamedTuple):
    """What the network reads, and what it is to predict."""

    tokens: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    """The next token at each, IGNORE where there is none to learn."""
    documents: Int[Tensor, "B T"] | None = None
    """The document of each token, if it sees that one only."""


@dataclass(frozen=True)
class Conditioning:
    """What the condition goes through in training."""

    drop: float = 0.1
    """Share of samples whose condition is replaced by the learned null prefix."""
    noise: float = 0.4
    """Length of the Gaussian noise added to the unit condition before it is renormalised."""

    def __post_init__(self):
        if not 0 <= self.drop < 1:
            raise UserError(f"drop is {self.drop} but must be a share from 0 to below 1")
        if self.noise < 0:
            raise UserError(f"noise is {self.noise} but must be 0 or more")


class TextModule(TrainedModule):
    """A tokenizer and a decoder-only transformer.

    A batch holds `text`, and `cond` if any; or windows of a stream, `tokens` and `targets`.
    """

    kind = "text"

    def __init__(
        self,
        model: TextConfig = TextConfig(),
        conditioning: Conditioning = Conditioning(),
        optim: OptimConfig = OptimConfig(),
        tokenizer: str | None = None,
        lora: LoRA | None = None,
        cond_dim: int = 0,
        seed: int = 0,
        compile: bool = False,
    ):
        """Build the codec and the network.

        Args:
            model: Size of the vocabulary and of the network.
            conditioning: What the condition goes through in training.
            optim: Optimiser and schedule.
            tokenizer: A tokenizer.json to use; by default one is learned from the training texts.
                Token shards bring their own.
            lora: Adapters that learn in place of the network, which is then frozen.
            cond_dim: Width of the condition; 0 trains a plain language model. Linked from the data.
            seed: Seed of the conditioning; linked from --seed_everything.
            compile: Compile the network before it trains, which takes a minute or two and pays in
                long runs.
        """
        super().__init__(optim, seed)
        self.save_hyperparameters(logger=False, ignore="compile")
        self.conditioning, self.tokenizer, self.cond_dim = conditioning, tokenizer, cond_dim
        self.codec = TextCodec(model.vocabulary)
        self.net = TextModel(model, cond_dim)
        if lora is not None:
            adapt(self.net, lora)
        self.compiled = compile

    def start_from(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the weights of a checkpoint that is fine-tuned; adapters that it lacks are new."""
        new = {n: w for n, w in self.state_dict().items() if ".adapters." in n}
        super().start_from({**checkpoint, "state_dict": new | checkpoint["state_dict"]})

    def on_fit_start(self) -> None:
        """Settle the tokenizer, which a checkpoint may have brought, and compile if asked to."""
        self._settle_tokenizer()
        if self.compiled:
            compile_in_place(self.net)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the mean loss of a token."""
        loss = self.loss(self._rows(batch), batch.get("cond"), self.seeds(batch))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Log the loss a token and the bits a byte, with noise that never changes.

        Of a second set, the corpus that a model was pretrained on, under a name of its own.
        """
        name = ("val", "val_pretraining")[dataloader_idx]
        rows = self._rows(batch)
        if "mask" in batch:
            rows.targets[~batch["mask"]] = IGNORE
        loss = self.loss(rows, batch.get("cond"), self.seeds(batch))
        learned = rows.targets[rows.targets != IGNORE]
        alone: dict[str, Any] = {"add_dataloader_idx": False}
        self.log(f"{name}/loss", loss, prog_bar=True, batch_size=len(learned), **alone)
        if self._token_bytes is None:
            return
        size = int(self._token_bytes.to(learned.device)[learned].sum())
        bits = loss * len(learned) / max(1, size) / math.log(2)
        self.log(f"{name}/bits_per_byte", bits, batch_size=size, **alone)

    def on_validation_epoch_end(self) -> None:
        """Log the perplexity of the whole split."""
        loss = self.trainer.callback_metrics.get("val/loss")
        if loss is not None:
            self.log("val/perplexity", loss.exp())

    def loss(
        self, rows: Rows, cond: Float[Tensor, "B E"] | None, seeds: Int[Tensor, "B"]
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of each target given what is before it."""
        keep = None
        if cond is not None:
            keep = uniform(seeds, stream=3) >= self.conditioning.drop
            cond = corrupt(cond, seeds, self.conditioning.noise)
        logits_BTV = self.net(rows.tokens, cond, keep=keep, documents=rows.documents)
        return self.mean_over_ranks(*next_token_loss(logits_BTV, rows.targets))

    def rates(self, samples: float) -> dict[str, float]:
        """Return tokens a second and the share of the device's arithmetic that is put to use.

        Args:
            samples: Samples a second, over all ranks.
        """
        tokens = samples * self.net.config.context
        flops = flops_per_token(self.net)
        used = utilisation(tokens * flops / max(1, self.ranks), self.device)
        rates = {"tokens_per_second": round(tokens, 1), "flops_per_token": float(flops)}
        return rates if used is None else rates | {"mfu": round(used, 4)}

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
            raise UserError(f"{len(cond)} embeddings but {len(seeds)} seeds; give one seed each")
        if cond is not None and cond.shape[1] != self.cond_dim:
            raise UserError(
                f"an embedding of width {cond.shape[1]} does not fit this model, which was "
                f"trained with width {self.cond_dim}; embed with the same towers"
            )
        if not seeds:
            return []
        cond = cond if cond is None else cond.to(self.device)
        alphabet = Alphabet.of(self.codec.tokenizer)
        ids = write(self.net, cond, options, seeds_tensor(seeds, self.device), alphabet)
        return self.codec.decode(ids)

    def write_samples(self, stem: Path, batch: dict[str, Any]) -> None:
        """Write texts of a batch, and below each what its embedding gives."""
        cond = batch.get("cond")
        real = batch["text"][:8] if "text" in batch else self.codec.decode(batch["tokens"][:8])
        written = self.generate(cond if cond is None else cond[:8], seeds=range(len(real)))
        lines = [f"{a}\n    {b}" for a, b in zip(real, written, strict=True)]
        write_text(stem.with_suffix(".txt"), "\n".join(lines))

    @cached_property
    def _token_bytes(self) -> Int[Tensor, "V"] | None:
        """Bytes of each token; None of a tokenizer that cannot spell every byte."""
        try:
            return token_bytes(self.codec.tokenizer)
        except UserError:
            return None

    def _settle_tokenizer(self) -> None:
        """Take the tokenizer that is asked for; all that ask, a checkpoint too, must agree."""
        data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        theirs = getattr(data, "tokenizer", None)
        if self.tokenizer is not None:
            self.codec.settle(read_tokenizer(self.tokenizer), self.tokenizer)
        if theirs is not None:
            self.codec.settle(theirs, f"the tokenizer of the shards in {data.root}")
        if not self.codec.fitted:
            batches = self.first_batches(FITTING)
            self.codec.fit(text for batch in batches for text in batch["text"])

    def _rows(self, batch: dict[str, Any]) -> Rows:
        if "tokens" in batch:
            return Rows(batch["tokens"], batch["targets"].clone(), batch.get("documents"))
        ids = self.codec.encode(batch["text"], self.net.config.context).to(self.device)
        targets = ids[:, 1:].masked_fill(ids[:, 1:] == self.codec.tokenizer.pad, IGNORE)
        return Rows(ids[:, :-1], targets)


def next_token_loss(
    logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Return the sum of the cross-entropy in nats, and the number of targets it is of."""
    flat = logits.float().flatten(0, 1)
    total = F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORE, reduction="sum")
    return total, (targets != IGNORE).sum()
