"""What every LightningModule of the project shares: seeds, optimiser, checkpoint identity."""

import inspect
from collections.abc import Mapping
from types import FrameType
from typing import Any, ClassVar

import lightning as L
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn.utils import get_total_norm

from core.checkpoint import describe, load_weights, provenance
from core.data import ShardData
from core.errors import UserError
from core.noise import mix
from core.optim import OptimConfig, build_optimiser
from core.sharding import shard, whole


class TrainedModule(L.LightningModule):
    """Base of all trainers; a subclass names its `kind` and writes `training_step`."""

    kind: ClassVar[str]
    optim: OptimConfig
    seed: int

    def __init__(self, optim: OptimConfig, seed: int):
        super().__init__()
        self.optim, self.seed = optim, seed
        self.provenance = provenance()
        self.skipped = 0

    def save_hyperparameters(self, *args: Any, ignore: Any = (), **_: Any) -> None:
        """Keep the constructor's arguments as they are; they rebuild the module.

        Lightning's own version keeps the command line's plain values instead when it is used from
        there, which forget the type of a choice.
        """
        frame = inspect.currentframe()
        while frame is not None and not _is_constructor_of(self, frame):
            frame = frame.f_back  # a type checker's wrapper may stand between
        assert frame is not None, "save_hyperparameters is for constructors"
        ignored = {"self", *([ignore] if isinstance(ignore, str) else ignore)}
        names = inspect.signature(type(self).__init__).parameters.keys() - ignored
        self.hparams.update({n: frame.f_locals[n] for n in names})  # pyright: ignore[reportOptionalMemberAccess]

    def log(self, name: str, value: Any, *, batch_size: int | None = None, **options: Any) -> None:
        """Log a value's mean over all ranks; one of no samples counts for nothing, a nan too."""
        if batch_size is not None:
            value = value if batch_size else 0.0
            # As a whole number it would be averaged over the ranks, and lose what is left over.
            options["batch_size"] = float(batch_size)
        options["sync_dist"] = True
        if self.ranks == 1 or self._is_written():
            super().log(name, value, **options)

    def start_from(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the weights of a checkpoint that is fine-tuned."""
        load_weights(self, checkpoint)

    def _is_written(self) -> bool:
        """Tell whether this step's values are; those of others are not worth an exchange."""
        return self.trainer._logger_connector.should_update_logs

    def rates(self, samples: float) -> dict[str, float]:
        """Return what a number of samples a second means for this trainer, for `cost.json`."""
        return {}

    def first_batches(self, count: int) -> list[dict[str, Any]]:
        """Return the first training batches, for what is fitted to data before training begins."""
        data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(data, ShardData):
            return data.first_batches(count)  # on every rank the same
        return [batch for batch, _ in zip(data.train_dataloader(), range(count), strict=False)]

    @property
    def ranks(self) -> int:
        """How many processes share a batch of training."""
        alone = self._trainer is None or not self.training
        return 1 if alone else self.trainer.world_size

    def mean_over_ranks(
        self, total: Float[Tensor, ""], count: Int[Tensor, ""]
    ) -> Float[Tensor, ""]:
        """Return total / count, in training over all ranks, whose counts may differ.

        Each rank's share is made as large as their number: it is their mean that counts.
        """
        if self.ranks > 1:
            everywhere = self.trainer.strategy.reduce(count.float(), reduce_op="sum")
            return total * self.ranks / everywhere.clamp_min(1)
        return total / count.clamp_min(1)

    def of_all_ranks(self, rows: Shaped[Tensor, "B *S"]) -> Shaped[Tensor, "C *S"]:
        """Return the rows of all ranks' batches, in the order that one process would have them."""
        if self.ranks == 1:
            return rows
        gathered = self.all_gather(rows)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def seeds(self, batch: dict[str, Any]) -> Int[Tensor, "B"]:
        """Return one seed a sample: a pure function of run seed, epoch and global sample index."""
        return mix(self.seed, batch["epoch"], batch["index"])

    def configure_model(self) -> None:
        """Spread the weights over the ranks where the strategy has a mesh for it."""
        if self.device_mesh is not None:
            shard(self, self.device_mesh["data_parallel"])

    def on_train_start(self) -> None:
        """Set the learning rate by the schedule of this run: a resumed one may be longer."""
        schedulers = self.lr_schedulers() or []
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            assert isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR)
            factors = [f(scheduler.last_epoch) for f in scheduler.lr_lambdas]
            for group, base, factor in zip(
                scheduler.optimizer.param_groups, scheduler.base_lrs, factors, strict=True
            ):
                group["lr"] = base * factor

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Reseed torch's own generator (dropout), so that a resumed step equals its original."""
        torch.manual_seed(int(self.seeds(batch)[0]))
        # A run that goes on where validation had just ended would count that step twice in its log.
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.global_step

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Bound the gradient; one that is not finite ends the run, or is left out and counted.

        Every rank sees the same gradient, so all of them do the same. What half precision
        (16-mixed) overflows is its own scaler's business.
        """
        held = [p.grad for p in self.parameters() if p.grad is not None]
        if self.trainer.precision == "16-mixed" or whole(get_total_norm(held)).isfinite():
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif self.optim.not_finite == "skip":
            optimizer.zero_grad(set_to_none=True)  # a parameter without a gradient stays as it is
            self.skipped += 1
            self.log("train/skipped", float(self.skipped))
        else:
            raise UserError(
                f"the gradient of step {self.global_step} is not finite; checkpoints are as they"
                " were. Lower the learning rate, or leave such batches out:"
                " --model.optim.not_finite=skip"
            )

    def configure_optimizers(self) -> Any:
        """Build the optimiser; the schedule spans the Trainer's `max_steps`."""
        total = self.trainer.max_steps
        if total < 1:
            raise UserError(f"trainer.max_steps is {total} but the schedule needs a number >= 1")
        return build_optimiser(self, self.optim, total)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module and where it came from; drop what pickles classes."""
        checkpoint.pop("hyper_parameters", None)
        checkpoint.pop("hparams_name", None)
        checkpoint["unison"] = describe(self) | self.provenance | {"seed": self.seed}
        checkpoint["skipped"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped = checkpoint.get("skipped", 0)
        _begin_next_epoch(checkpoint)


def _begin_next_epoch(checkpoint: dict[str, Any]) -> None:
    """Let a run that ended with an epoch begin the next one: its loader stands there already.

    Lightning would count the first batch to the epoch that is over, and as the end of that one
    take a step by itself, which is wrong where gradients are accumulated.
    """
    progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_loop.batch_progress")
    if progress and progress["is_last_batch"]:
        over = progress["current"]["completed"] == progress["current"]["ready"]
        if over:
            progress["current"] = dict.fromkeys(progress["current"], 0)
            progress["is_last_batch"] = False


def _is_constructor_of(module: TrainedModule, frame: FrameType) -> bool:
    """Tell whether a frame is the constructor of the module's own class."""
    own = type(module).__init__.__qualname__.rpartition(".")[0]
    code = frame.f_code
    return (
        code.co_name == "__init__"
        and code.co_qualname.startswith(own)
        and frame.f_locals.get("self") is module
    )
