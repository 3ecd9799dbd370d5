"""The joint prior: which embeddings go together, and those that are missing given some.

Any subset may be observed; the others are sampled so that they agree about what the observed ones
leave open. First the plan, the embedding of a complete caption, by a small flow over tokens: all
that is open and discrete is decided there. Then the others given the plan and what was observed,
from the joint Gaussian of the embeddings: what is left is linear in them (LOG.md: four outputs
sampled from nothing agree in 0.99, and in 0.96 if the flow samples them as well).

Text and sound have two tokens each: what was *said* (observed only, it may mention any subset of
the factors) and what is *generated* (always complete).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from core.batches import real_samples
from core.denoiser import Denoiser, DenoiserConfig
from core.errors import UserError
from core.flow import flow_loss, interpolate, velocity
from core.module import TrainedModule
from core.noise import mix, normal, seeds_tensor, uniform
from core.optim import OptimConfig
from core.sampling import FlowOptions, solve
from multimodal.casts import PriorTraining, draw_cast, mix_tuples, stack_slots
from multimodal.gaussian import (
    Evidence,
    condition,
    nearest_covariance,
    sample,
    second_moments,
    through,
)
from multimodal.towers import TokensConfig

SAMPLING = FlowOptions(steps=20, guidance=1.0, solver="heun", shift=3.0)
"""How the prior is sampled: what outputs agree on is decided early, and a step costs little."""

EVIDENCE = 1.5
"""Weight of the linear evidence by which observed tokens correct each step; 0 leaves it out."""

UNSAID = 0.5
"""Time from which tokens that may be partial are no evidence any more: linear evidence takes what
a query leaves unsaid for a statement, and would blend what is open (LOG.md)."""

SPREAD = 0.7
"""Share of the Gaussian's own deviations with which it is sampled: its tails are not the data's.
Less agrees more, more covers more (LOG.md)."""

FITTING = 64
"""Batches that means and covariance are taken from."""


class PriorModule(TrainedModule):
    """A denoising transformer over the tokens of a space, and their joint Gaussian.

    With a plan the transformer predicts the plan's clean token only, and the Gaussian the others
    (`tokens.rest`); without one (`tokens.plan` null, or a plan that no sample has) it predicts them
    all at once.
    """

    kind = "prior"
    mean: Float[Tensor, "N E"]
    std: Float[Tensor, "N E"]
    covariance: Float[Tensor, "M M"]
    known: Bool[Tensor, "N"]
    fitted: Tensor

    def __init__(
        self,
        net: DenoiserConfig = DenoiserConfig(depth=3),
        training: PriorTraining = PriorTraining(),
        optim: OptimConfig = OptimConfig(),
        embedding: int = 64,
        seed: int = 0,
        tokens: TokensConfig = TokensConfig(),
    ):
        """Build the network.

        Args:
            net: Size of the transformer.
            training: How tokens are cast.
            optim: Optimiser and schedule.
            embedding: Width of the shared space. Linked from the data.
            seed: Seed of noise, times and casts; linked from --seed_everything.
            tokens: The embeddings that it models.
        """
        super().__init__(optim, seed)
        self.save_hyperparameters(logger=False)
        self.cast, self.tokens = training, tokens
        count = len(tokens.slots)
        self.net = Denoiser(net, embedding, torch.arange(count)[:, None], cond_dim=0)
        self.absent = nn.Parameter(torch.zeros(count, embedding))
        self.register_buffer("mean", torch.zeros(count, embedding))
        self.register_buffer("std", torch.ones(count, embedding))
        self.register_buffer("covariance", torch.eye(count * embedding))
        self.register_buffer("known", torch.ones(count, dtype=torch.bool))
        self.register_buffer("fitted", torch.tensor(False))

    def on_fit_start(self) -> None:
        """Fit the statistics of each token on training embeddings, unless a checkpoint did."""
        if not self.fitted:
            stacked = [stack_slots(batch, self.tokens) for batch in self.first_batches(FITTING)]
            rows, present = zip(*stacked, strict=True)
            self.fit_statistics(torch.cat(rows), torch.cat(present))

    def fit_statistics(self, rows: Float[Tensor, "B N E"], present: Bool[Tensor, "B N"]) -> None:
        """Take the moments of tokens where they are present, and which ones there are."""
        for slot in range(len(self.tokens.slots)):
            seen = rows[present[:, slot], slot]
            self.known[slot] = len(seen) > 1
            if self.known[slot]:
                self.mean[slot] = seen.mean(dim=0)
                self.std[slot] = seen.std(dim=0).clamp_min(1e-3)
        moments = second_moments(self._standardise(rows), present)
        if self.plan is not None:
            moments = through(moments, present, self.plan)
        if not present[:, self.known].all():
            moments = nearest_covariance(moments)
        self.covariance.copy_(moments)
        self.fitted.fill_(True)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the flow's loss on the generated tokens."""
        rows, present = stack_slots(batch, self.tokens)
        seeds = self.seeds(batch)
        if self.plan is not None:
            rows, present, seeds = self._with_mixed(rows, present, seeds, self.plan)
        loss = self.loss(rows, present, seeds)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the loss under casts, noise and times that are the same in every validation."""
        batch, count = real_samples(batch)
        loss = self.loss(*stack_slots(batch, self.tokens), self.seeds(batch))
        self.log("val/loss", loss, prog_bar=True, batch_size=count)

    def loss(
        self,
        rows: Float[Tensor, "B N E"],
        present: Bool[Tensor, "B N"],
        seeds: Int[Tensor, "B"],
    ) -> Float[Tensor, ""]:
        """Return the mean squared error of the velocity of generated tokens."""
        observed, generated = (cast & present for cast in draw_cast(seeds, self.cast, self.tokens))
        if self.plan is not None and self.tokens.rest == "gaussian":
            generated[:, torch.arange(generated.shape[1]) != self.plan] = False
        noise, time = normal(seeds, rows.shape[1:]), self._times(seeds)
        x = self._standardise(rows)
        shaken = normal(seeds, rows.shape[1:], stream=2) * self._shake()
        clean = self._standardise(F.normalize(rows + shaken, dim=-1))
        x_t = torch.where(observed[..., None], clean, interpolate(noise, x, time))
        output = self._predict(x_t, torch.where(observed, 1.0, time), observed | generated)
        error = flow_loss(output.float(), noise, x, time, "x").mean(dim=-1)
        return self.mean_over_ranks((error * generated).sum(), generated.sum())

    @torch.no_grad()
    def generate(
        self,
        observed: dict[str, Float[Tensor, "B E"]],
        options: FlowOptions = SAMPLING,
        *,
        seeds: Sequence[int],
        evidence: float = EVIDENCE,
        spread: float = SPREAD,
    ) -> dict[str, Float[Tensor, "B E"]]:
        """Sample the embeddings of the modalities it was trained on, given those observed.

        An observed image or clip keeps its embedding; text and sound are sampled anew, complete, as
        what was said may be partial.

        Args:
            observed: Unit embeddings of any modalities.
            options: How the flow is solved.
            seeds: One a sample.
            evidence: Weight of the linear evidence that corrects the plan.
            spread: Deviations of what is drawn beside the plan, as a share of the Gaussian's own.
        """
        names, slots = self.tokens.modalities, self.tokens.slots
        unknown = observed.keys() - set(names)
        if unknown:
            raise UserError(f"{min(unknown)} is no modality; choose from {', '.join(names)}")
        sources = {slots.index(self.tokens.sources[m]): e for m, e in observed.items()}
        rows = torch.zeros(len(seeds), *self.mean.shape).to(self.mean)
        for slot, embedding in sources.items():
            rows[:, slot] = embedding.to(rows)
        given = self._mask(sources) & self.known
        targets = self._mask(range(len(names))) & self.known & ~given
        x, starts = self._standardise(rows), seeds_tensor(seeds, self.device)
        noise = normal(starts, self.mean.shape)
        if self.plan is None:
            x = self._flow(x, given, targets, noise, options)
        else:
            if not given[self.plan]:
                wanted = self._mask([self.plan])
                x = self._flow(x, given, wanted, noise, options, evidence)
            given = (given | self._mask([self.plan])) & self._mask(range(len(names)))
            if self.tokens.rest == "flow":
                x = self._flow(x, given, targets & ~given, noise, options)
            else:
                drawn = spread * normal(starts, noise.shape[1:], stream=8)
                x = self._linear(x, given, targets & ~given, drawn)
        rows = F.normalize(x * self.std + self.mean, dim=-1)
        made = given | targets
        return {m: rows[:, i] for i, m in enumerate(names) if made[i]}

    @property
    def plan(self) -> int | None:
        """The token that is sampled first, if there is one that samples have."""
        name = self.tokens.plan
        slot = None if name is None else self.tokens.slots.index(name)
        return slot if slot is not None and self.known[slot] else None

    def _flow(
        self,
        x: Float[Tensor, "B N E"],
        given: Bool[Tensor, "N"],
        wanted: Bool[Tensor, "N"],
        noise: Float[Tensor, "B N E"],
        options: FlowOptions,
        evidence: float = 0.0,
    ) -> Float[Tensor, "B N E"]:
        """Put samples of the flow in the place of the wanted tokens."""
        seen = (given | wanted).expand(len(x), -1)
        partial = self._mask(map(self.tokens.slots.index, self.tokens.queries.values()))
        all_told, surely_told = (
            self._evidence(x, tokens, wanted) if evidence else None
            for tokens in (given, given & ~partial)
        )

        def slope(x_t: Float[Tensor, "B N E"], t: float) -> Float[Tensor, "B N E"]:
            time = torch.where(given, 1.0, t).expand(len(x_t), -1)
            clean = self._predict(x_t, time, seen)
            told = all_told if t < UNSAID else surely_told
            if told is not None:
                corrected = told[0].correct(clean[:, wanted].flatten(1), told[1], t, evidence)
                clean[:, wanted] = corrected.reshape(clean[:, wanted].shape)
            return torch.where(wanted[:, None], velocity(clean, x_t, time, "x"), 0.0)

        start = torch.where(wanted[:, None], noise, x)
        return solve(slope, start, options)

    def _evidence(
        self, x: Float[Tensor, "B N E"], given: Bool[Tensor, "N"], wanted: Bool[Tensor, "N"]
    ) -> tuple[Evidence, Float[Tensor, "B G"]] | None:
        """Return what some tokens say of the wanted ones, and their entries."""
        if not given.any():
            return None
        told = Evidence(self.covariance, self._entries(wanted), self._entries(given))
        return told, x[:, given].flatten(1)

    def _linear(
        self,
        x: Float[Tensor, "B N E"],
        given: Bool[Tensor, "N"],
        wanted: Bool[Tensor, "N"],
        noise: Float[Tensor, "B N E"],
    ) -> Float[Tensor, "B N E"]:
        """Put samples of the joint Gaussian in the place of the wanted tokens."""
        linear = condition(self.covariance, self._entries(given), self._entries(wanted))
        drawn = sample(linear, x[:, given].flatten(1), noise[:, wanted].flatten(1))
        x = x.clone()
        x[:, wanted] = drawn.reshape(x[:, wanted].shape)
        return x

    def _with_mixed(
        self,
        rows: Float[Tensor, "B N E"],
        present: Bool[Tensor, "B N"],
        seeds: Int[Tensor, "B"],
        plan: int,
    ) -> tuple[Float[Tensor, "C N E"], Bool[Tensor, "C N"], Int[Tensor, "C"]]:
        """Append tuples mixed from those of the batch, which say in full what they say.

        Of those that all ranks' batches make together, each rank takes its share.
        """
        whole, there = rows.clone(), present.clone()
        for modality, query in self.tokens.queries.items():
            said, full = (self.tokens.slots.index(name) for name in (query, modality))
            whole[:, said], there[:, said] = rows[:, full], present[:, full]
        whole, there, all_seeds = (self.of_all_ranks(x) for x in (whole, there, seeds))
        mixed, both, of = mix_tuples(whole, there, plan, self.cast.mixed)
        share = slice(self.global_rank, None, self.ranks) if self.ranks > 1 else slice(None)
        return (
            torch.cat([rows, mixed[share]]),
            torch.cat([present, both[share]]),
            torch.cat([seeds, mix(all_seeds[of], 1)[share]]),
        )

    def _mask(self, slots: Iterable[int]) -> Bool[Tensor, "N"]:
        chosen = set(slots)
        return torch.tensor([slot in chosen for slot in range(len(self.known))]).to(self.known)

    def _entries(self, tokens: Bool[Tensor, "N"]) -> Bool[Tensor, "M"]:
        return tokens.repeat_interleave(self.mean.shape[1])

    def _predict(
        self, x: Float[Tensor, "B N E"], time: Float[Tensor, "B N"], seen: Bool[Tensor, "B N"]
    ) -> Float[Tensor, "B N E"]:
        """Return clean standardised tokens; those not seen are masked and stand at time 0."""
        x = torch.where(seen[..., None], x, self.absent)
        return self.net(x, torch.where(seen, time, 0.0), None)

    def _standardise(self, rows: Float[Tensor, "B N E"]) -> Float[Tensor, "B N E"]:
        return (rows - self.mean) / self.std

    def _shake(self) -> float:
        return self.cast.observed_noise / self.mean.shape[1] ** 0.5

    def _times(self, seeds: Int[Tensor, "B"]) -> Float[Tensor, "B N"]:
        own = uniform(seeds, stream=6) < self.cast.own_times
        times = self.cast.times.times(seeds, (len(self.tokens.slots),))
        return torch.where(own[:, None], times, times[:, :1])
