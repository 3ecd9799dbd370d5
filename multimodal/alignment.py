"""Contrastive alignment of the towers: all pairs, or a star around one anchor."""

from itertools import combinations
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.errors import UserError
from core.module import TrainedModule
from core.noise import seeds_for, uniform
from core.optim import OptimConfig
from multimodal.losses import info_nce
from multimodal.towers import DRAWN, QUERIES, ModalityName, TowersConfig, build_towers

INITIAL_SCALE = 1 / 0.07
"""Inverse temperature at the start, as in CLIP."""


NOTHING = "nothing"
"""Stands in for a text that a sample lacks; its embedding is not used."""
FITTING = 16
"""Batches that towers may look at before training."""


class AlignmentModule(TrainedModule):
    """Towers on one sphere, trained by InfoNCE between pairs of modalities."""

    kind = "alignment"

    def __init__(
        self,
        towers: TowersConfig = TowersConfig(),
        optim: OptimConfig = OptimConfig(),
        anchor: ModalityName | None = None,
        max_scale: float = 30.0,
        motion_weight: float = 2.0,
        partial: float = 0.3,
        drawn: float = 0.5,
        seed: int = 0,
    ):
        """Build the towers.

        Args:
            towers: Their sizes.
            optim: Optimiser and schedule.
            anchor: Align the others to this modality only (a star); None aligns all pairs.
            max_scale: Cap of the learned inverse temperature of each pair.
            motion_weight: Weight of the text-video pair, which alone carries motion.
            partial: Share of samples whose text or sound is a partial query.
            drawn: Share of samples whose picture is drawn by hand, where the data has drawings.
            seed: Seed of augmentation; linked from --seed_everything.
        """
        super().__init__(optim, seed)
        for name, share in (("partial", partial), ("drawn", drawn)):
            if not 0 <= share <= 1:
                raise UserError(f"{name} is {share} but must be a share from 0 to 1")
        if max_scale < 1:
            raise UserError(f"max_scale is {max_scale} but must be 1 or more")
        self.save_hyperparameters(logger=False)
        self.towers = build_towers(towers)
        self.queries = {m: field for m, field in QUERIES.items() if m in self.towers}
        self.drawings = {m: field for m, field in DRAWN.items() if m in self.towers}
        self.pairs = [p for p in combinations(self.towers, 2) if anchor is None or anchor in p]
        self.log_scale = nn.Parameter(torch.full((len(self.pairs),), INITIAL_SCALE).log())
        self.max_scale, self.motion_weight = max_scale, motion_weight
        self.partial, self.drawn = partial, drawn
        self.register_buffer("fitted", torch.tensor(False))

    def on_fit_start(self) -> None:
        """Let towers that need it (text: its tokenizer) look at training data first."""
        if self.fitted:
            return
        batches = self.first_batches(FITTING)
        for modality, tower in self.towers.items():
            fit = getattr(tower, "fit", None)
            if fit is not None:
                fit([signal for batch in batches for signal in _held(batch, modality)])
        self.fitted.fill_(True)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the weighted mean of the pairs' losses."""
        embeddings = self.embed_batch(self._with_others(batch), self.seeds(batch))
        there = {m: batch["present"][m] for m in self.towers}
        embeddings, there = self._gather(embeddings, there)
        losses = self.pair_losses(embeddings, there)
        self.log_dict({f"train/{'-'.join(p)}": v for p, v in losses.items()})
        weights = [self.motion_weight if p == ("text", "video") else 1.0 for p in losses]
        weighted = [w * v for w, v in zip(weights, losses.values(), strict=True)]
        loss = torch.stack([*weighted, *self._unpaired(embeddings, losses)]).sum()
        loss = loss / (sum(weights) or 1.0)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log each pair's loss and its top-1 retrieval on complete signals."""
        # What only pads is left out as absent: every rank must gather as many rows.
        there = {m: batch["present"][m] & batch["mask"] for m in self.towers}
        embeddings, present = self._gather(self.embed_batch(batch), there)
        losses = self.pair_losses(embeddings, present)
        for (a, b), loss in losses.items():
            both = present[a] & present[b]
            nearest = (embeddings[a][both] @ embeddings[b][both].T).argmax(dim=1).cpu()
            hits = (nearest == torch.arange(len(nearest))).float().mean()
            self.log(f"val/{a}-{b}", loss, batch_size=len(nearest))
            self.log(f"val/{a}-{b}/top1", hits, batch_size=len(nearest))
        if losses:  # a small split may hold no pair twice
            mean = sum(losses.values()) / len(losses)
            self.log("val/loss", mean, prog_bar=True, batch_size=1)

    def embed(self, modality: str, signal: Any) -> Float[Tensor, "B E"]:
        """Return unit embeddings of a batch of signals of one modality."""
        return self.towers[modality](signal)

    def embed_batch(
        self, batch: dict[str, Any], seeds: Int[Tensor, "B"] | None = None
    ) -> dict[str, Float[Tensor, "B E"]]:
        """Return the embeddings of every modality; `seeds` (training) turns augmentation on.

        Each modality's augmentation is independent of the others': what a sample's signals shared
        by augmentation alone would be a shortcut from one to the other.
        """
        own = {m: None if seeds is None else seeds_for(seeds, m) for m in self.towers}
        return {m: self._embed_present(batch, m, own[m]) for m in self.towers}

    def _embed_present(
        self, batch: dict[str, Any], modality: str, seeds: Int[Tensor, "B"] | None
    ) -> Float[Tensor, "B E"]:
        """Return a modality's embeddings; those of samples that lack it are zero.

        A tower that no sample has a signal for sees one row all the same, without any effect: on
        several ranks every parameter needs a gradient.
        """
        tower, has = self.towers[modality], batch["present"][modality]
        if has.all():
            return tower(batch[modality], seeds)
        width = self.hparams["towers"].embedding
        rows = torch.zeros(len(has), width, device=self.device)
        if modality not in batch:  # not one sample of the whole split has it
            return rows
        places = has.nonzero().flatten() if has.any() else torch.zeros(1, dtype=torch.long)
        signals = batch[modality]
        if isinstance(signals, list):
            signals = [signals[i] or NOTHING for i in places.tolist()]
        else:
            signals = signals[places.to(signals.device)]
        embedded = tower(signals, None if seeds is None else seeds[places.to(seeds.device)])
        kept = has.to(embedded.device)[places.to(embedded.device), None]
        return rows.to(embedded).index_put((places.to(rows.device),), embedded * kept)

    def pair_losses(
        self, embeddings: dict[str, Float[Tensor, "B E"]], present: dict[str, Tensor]
    ) -> dict[tuple[str, str], Float[Tensor, ""]]:
        """Return InfoNCE of each pair over the samples that hold both."""
        losses = {}
        scales = self.log_scale.exp().clamp(max=self.max_scale)
        for pair, scale in zip(self.pairs, scales, strict=True):
            a, b = pair
            both = present[a] & present[b]
            if both.sum() > 1:
                losses[pair] = info_nce(embeddings[a][both], embeddings[b][both], scale)
        return losses

    def _unpaired(
        self, embeddings: dict[str, Float[Tensor, "B E"]], losses: dict[tuple[str, str], Tensor]
    ) -> list[Float[Tensor, ""]]:
        """Return nothing that counts for pairs that a batch lacks: every tower takes its part."""
        if len(losses) == len(self.pairs):
            return []
        return [0.0 * rows.sum() for rows in embeddings.values()] + [0.0 * self.log_scale.sum()]

    def _gather(self, *batches: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Concatenate rows over ranks, with gradients: each rank's negatives serve all."""
        trainer = getattr(self, "_trainer", None)  # there is none where only losses are wanted
        if trainer is None or trainer.world_size == 1:
            return list(batches)

        def joined(x: Tensor) -> Tensor:
            rows = self.all_gather(x, sync_grads=x.is_floating_point())
            return cast(Tensor, rows).flatten(0, 1)

        return [{name: joined(x) for name, x in batch.items()} for batch in batches]

    def _with_others(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Replace some samples' complete text or sound by their query, some pictures by drawings.

        Each modality's choice is a draw of its own; a sample without the other form keeps its own.
        """
        batch, others = dict(batch), {**self.queries, **self.drawings}
        others = {m: field for m, field in others.items() if field in batch and m in batch}
        if not others:
            return batch
        draws = uniform(self.seeds(batch), (len(others),), stream=4)
        for draw, (modality, field) in zip(draws.T, others.items(), strict=True):
            use = draw < (self.partial if modality in self.queries else self.drawn)
            use = use & batch["present"].get(field, torch.ones_like(use))
            usual, other = batch[modality], batch[field]
            if isinstance(usual, list):
                pairs = zip(usual, other, use.tolist(), strict=True)
                batch[modality] = [o if u else f for f, o, u in pairs]
            else:
                rows = use.to(usual.device)[(..., *[None] * (usual.dim() - 1))]
                batch[modality] = torch.where(rows, other, usual)
        return batch


def _held(batch: dict[str, Any], modality: str) -> list[Any]:
    """Return a batch's signals of a modality, without those that samples lack."""
    signals, present = batch.get(modality, []), batch["present"][modality].tolist()
    return [signal for signal, has in zip(signals, present, strict=False) if has]
