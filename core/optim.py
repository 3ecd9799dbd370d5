"""Optimisers and the learning-rate schedule."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from core.errors import UserError


@dataclass(frozen=True)
class AdamW:
    """AdamW for all parameters (Loshchilov and Hutter 2019)."""

    lr: float = 2e-3
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of the first and second moment."""
    weight_decay: float = 0.0
    """Decoupled weight decay, of matrices only."""


@dataclass(frozen=True)
class Muon:
    """Muon for hidden matrices, AdamW for everything else (Jordan et al. 2024).

    Hidden matrices are those of transformer blocks, and the kernels of convolutions over features
    (a kernel is a matrix from patches to channels); a convolution that reads colours is not.
    """

    matrix_lr: float = 0.02
    """Peak learning rate of matrices, for updates of unit spectral norm."""
    momentum: float = 0.95
    """Nesterov momentum of matrices."""
    other: AdamW = AdamW()
    """The rest: embeddings, heads, biases, gains."""


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a plateau, linear decay to zero."""

    warmup: float = 0.02
    """Share of the steps spent warming up."""
    decay: float = 0.4
    """Share of the steps, at the end, spent decaying."""

    def __post_init__(self):
        if not (self.warmup >= 0 and self.decay >= 0 and self.warmup + self.decay <= 1):
            raise UserError(f"warmup and decay are shares that sum to at most 1, not {self}")

    def factor(self, step: int, total: int) -> float:
        """Return the learning rate over its peak at a step (0 is the first)."""
        rise = (step + 1) / max(1.0, self.warmup * total)
        fall = (total - step) / max(1.0, self.decay * total)
        return max(0.0, min(1.0, rise, fall))


@dataclass(frozen=True)
class OptimConfig:
    """An optimiser, its schedule, and what becomes of gradients that are no numbers."""

    rule: AdamW | Muon = AdamW()
    """The update rule."""
    schedule: Schedule = Schedule()
    """The learning rate over time."""
    not_finite: Literal["stop", "skip"] = "stop"
    """What a gradient that is infinite or not a number does: end the run before it can spoil the
    weights, or be left out and counted (train/skipped)."""


def build_optimiser(module: nn.Module, config: OptimConfig, total_steps: int) -> dict[str, Any]:
    """Return what Lightning's `configure_optimizers` wants: an optimiser and a step schedule."""
    parameters = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    if isinstance(config.rule, Muon):
        optimiser = MuonWithAdamW(parameters, config.rule)
    else:
        optimiser = torch.optim.AdamW(
            _decay_groups(parameters, config.rule.weight_decay),
            lr=config.rule.lr,
            betas=config.rule.betas,
            foreach=True,  # fused refuses gradient clipping under mixed precision
        )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: config.schedule.factor(step, total_steps)
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def check_moments(own: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Raise if a checkpoint's optimiser is of another rule or of other weights than this run's.

    Args:
        own: The state of the optimiser that trains.
        held: The state that a checkpoint holds.
    """
    ours, theirs = (_rule_of(state) for state in (own, held))
    if ours != theirs:
        raise UserError(
            f"cannot resume: the checkpoint was trained by {theirs[0]} in groups of"
            f" {theirs[1]} weights, this run by {ours[0]} in groups of {ours[1]}; resume with the"
            " same --model.optim.rule, or start a new run from the weights with --init"
        )


def _rule_of(state: Mapping[str, Any]) -> tuple[str, list[int]]:
    """Return an optimiser's name, and how many weights each of its groups has."""
    groups = state["param_groups"]
    name = "Muon" if any("muon" in group for group in groups) else "AdamW"
    return name, [len(group["params"]) for group in groups]


def _decay_groups(parameters: list[tuple[str, nn.Parameter]], decay: float) -> list[dict[str, Any]]:
    groups = [
        {"params": [p for _, p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for _, p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class MuonWithAdamW(torch.optim.Optimizer):
    """Orthogonalised momentum for the matrices of blocks, AdamW for all else, in one optimiser.

    The Newton-Schulz steps of matrices of one shape run as one batched product: on small networks
    the naive loop costs about 30 % of a step.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], rule: Muon):
        matrices, others = [], []
        for name, p in parameters:
            (matrices if is_hidden_matrix(name, p) else others).append(p)
        groups: list[dict[str, Any]] = [
            {"params": matrices, "muon": True, "lr": rule.matrix_lr, "momentum": rule.momentum}
        ]
        shared = {"muon": False, "lr": rule.other.lr, "betas": rule.other.betas}
        groups += [
            g | shared for g in _decay_groups([("", p) for p in others], rule.other.weight_decay)
        ]
        super().__init__([group for group in groups if group["params"]], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all parameters once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["muon"]:
                self._muon(group)
            else:
                self._adamw(group)
        return loss

    def _muon(self, group: dict[str, Any]) -> None:
        for same in _by_shape(p for p in group["params"] if p.grad is not None):
            buffers = [self._state(p, "momentum") for p in same]
            grads = [p.grad for p in same if p.grad is not None]
            torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
            updates = torch.stack(torch._foreach_lerp(grads, buffers, group["momentum"]))
            flat = orthogonalise_together(updates.flatten(2))
            scale = -group["lr"] * max(1.0, flat.shape[1] / flat.shape[2]) ** 0.5
            torch._foreach_add_(same, list(flat.view_as(updates)), alpha=scale)

    def _adamw(self, group: dict[str, Any]) -> None:
        beta_1, beta_2 = group["betas"]
        params = [p for p in group["params"] if p.grad is not None]
        grads = [p.grad for p in params]
        for p in params:
            self.state[p]["step"] = self.state[p].get("step", 0) + 1
        first = [self._state(p, "first") for p in params]
        second = [self._state(p, "second") for p in params]
        torch._foreach_lerp_(first, grads, 1 - beta_1)
        torch._foreach_mul_(second, beta_2)
        torch._foreach_addcmul_(second, grads, grads, 1 - beta_2)
        for p, m, v in zip(params, first, second, strict=True):
            step = self.state[p]["step"]
            p.mul_(1 - group["lr"] * group["weight_decay"])
            denominator = (v / (1 - beta_2**step)).sqrt_().add_(1e-8)
            p.addcdiv_(m, denominator, value=-group["lr"] / (1 - beta_1**step))

    def _state(self, p: Tensor, name: str) -> Tensor:
        state = self.state[p]
        if name not in state:
            state[name] = torch.zeros_like(p)
        return state[name]


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Tell whether Muon takes a parameter: a block's matrix, or a kernel over features.

    A block's modulation is none: it reads the context, and would grow in directions that carry
    nothing.
    """
    inner = any(part in name for part in ("blocks.", "mixers.")) and "modulation" not in name
    return (parameter.ndim == 2 and inner) or (parameter.ndim > 3 and parameter.shape[1] > 3)


def orthogonalise(g: Float[Tensor, "M R C"], steps: int = 5) -> Float[Tensor, "M R C"]:
    """Push the singular values of each matrix towards 1 by a quintic Newton-Schulz iteration.

    A step is x <- (a + b A + c A^2) x with A = x x^T. Steps are polynomials of the first A, so they
    commute: A alone is carried along, on the shorter side, and x meets their product once. That is
    half the time of the plain iteration for a matrix four times as long as wide.
    Source: Jordan et al. 2024 (Muon), with its coefficients; values end within about [0.7, 1.2].
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = g.shape[1] <= g.shape[2]
    x = g if wide else g.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    scaled = a * torch.eye(x.shape[1], dtype=g.dtype, device=g.device)
    gram = x @ x.mT
    step = product = torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + scaled
    for _ in range(steps - 1):
        gram = step @ gram @ step
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + scaled
        product = step @ product
    x = product @ x
    return x if wide else x.mT


def orthogonalise_together(g: Float[Tensor, "M R C"]) -> Float[Tensor, "M R C"]:
    """Orthogonalise matrices that all ranks hold alike: each rank does its share of them."""
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    if ranks == 1:
        return orthogonalise(g)
    share = -(-len(g) // ranks)
    whole = F.pad(g, (0, 0, 0, 0, 0, share * ranks - len(g)))  # with zeros, which stay zeros
    mine = orthogonalise(whole[dist.get_rank() * share :][:share])
    dist.all_gather_into_tensor(whole, mine.contiguous())
    return whole[: len(g)]


def _by_shape(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    ordered = sorted(parameters, key=lambda p: tuple(p.shape))
    for _, group in groupby(ordered, key=lambda p: tuple(p.shape)):
        yield list(group)
