"""Training whose weights, averages and moments are spread over the ranks (FSDP2).

    python -m image.train --config A.yaml --trainer.strategy=fsdp2 --trainer.devices=8

Each rank holds some rows of every matrix and gathers a block's weights only while that block works.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import (
    DDPStrategy,
    ModelParallelStrategy,
    Strategy,
    StrategyRegistry,
)
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from core.checkpoint import AtomicCheckpointIO
from core.checkpoint_folder import write_folder
from core.errors import UserError
from core.optim import Muon, OptimConfig

NAME = "fsdp2"
"""What --trainer.strategy calls it."""

ENTRIES = ("training_step", "validation_step", "write_samples")
"""Methods that use weights and are called from outside, as forward is elsewhere."""


class FullyShard(ModelParallelStrategy):
    """FSDP2 over all ranks, with checkpoints of the usual content in the form of a folder."""

    strategy_name = NAME

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Restore before training is set up, as all other strategies do."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Let the Trainer hand over the optimiser's state, as it does elsewhere."""
        return True

    def setup_environment(self) -> None:
        """Connect the ranks, all of which share the batches and none a matrix product."""
        self._data_parallel_size, self._tensor_parallel_size = (
            self.num_nodes * self.num_processes,
            1,
        )
        super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the weights, of which each rank holds its rows."""
        assert self.lightning_module is not None
        return self.lightning_module.state_dict()

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Return the moments, of which each rank holds its rows, numbered as in one process."""
        return optimizer.state_dict()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None
    ) -> None:
        """Write a folder, every rank its rows."""
        write_folder(checkpoint, Path(filepath), self.global_rank, self._gather)

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of any number of ranks, or of one process."""
        return AtomicCheckpointIO().load_checkpoint(checkpoint_path, weights_only=True)

    def load_model_state_dict(self, checkpoint: Any, strict: bool = True) -> None:
        """Take this rank's rows of the weights."""
        assert self.lightning_module is not None
        own = dict(self.lightning_module.named_parameters())
        weights = {n: rows_like(own.get(n), w) for n, w in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(weights, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        """Take this rank's rows of the moments."""
        for optimizer, held in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            numbers = [n for group in held["param_groups"] for n in group["params"]]
            own = dict(zip(numbers, parameters, strict=True))
            state = {
                number: {name: rows_like(own[number], value) for name, value in moments.items()}
                for number, moments in held["state"].items()
            }
            optimizer.load_state_dict(held | {"state": state})

    def _gather(self, mine: tuple[str, str]) -> list[tuple[str, str]]:
        """Return what each rank gave."""
        given: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(given, mine)
        return given


def register_strategies() -> None:
    """Let --trainer.strategy know fsdp2, and ddp without what no module here needs.

    Buffers are statistics, fitted to the same batches on every rank: none is sent in each step.
    """
    StrategyRegistry.register(NAME, FullyShard, override=True)
    StrategyRegistry.register(
        "ddp", DDPStrategy, override=True, broadcast_buffers=False, gradient_as_bucket_view=True
    )


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Spread a module's trainable weights over the ranks; frozen ones stay whole on each.

    Weights are given up after each use: those that stayed would be what averages and checkpoints
    see after a validation.
    """
    frozen = {p for p in module.parameters() if not p.requires_grad}
    for part in (*units(module), module):
        fully_shard(part, mesh=mesh, reshard_after_forward=True, ignored_params=frozen)
    for name in ENTRIES:
        if hasattr(module, name):
            register_fsdp_forward_method(module, name)


def units(module: nn.Module) -> Iterator[nn.Module]:
    """Return the blocks of a module, each gathered at its time; the rest is gathered together.

    A block is an entry of a list of layers that trains a matrix (a list of norms is not worth
    an exchange each), or a stage of several layers in a sequence of such.
    """
    for child in module.children():
        if _is_block(child, module):
            yield child
        else:
            yield from units(child)


def _is_block(module: nn.Module, parent: nn.Module) -> bool:
    if isinstance(parent, nn.Sequential):
        stage = any(True for _ in module.children())
    else:
        stage = isinstance(parent, nn.ModuleList)
    return stage and any(p.ndim > 1 and p.requires_grad for p in module.parameters())


def is_sharded(module: nn.Module) -> bool:
    """Tell whether a forward pass is something that all ranks do together."""
    return isinstance(module, FSDPModule)


def rows_like(parameter: Tensor | None, value: Any) -> Any:
    """Return this rank's rows of a whole tensor that belongs to a sharded parameter.

    What is of another shape (a count of steps), or belongs to a parameter that is not sharded, is
    returned as it is.
    """
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape:
        return value
    mesh, places = parameter.device_mesh, parameter.placements
    return distribute_tensor(value, mesh, places, src_data_rank=None)


def whole(value: Tensor) -> Tensor:
    """Return a tensor with the rows of all ranks; all of them must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def check_form(strategy: Strategy, checkpoint: Path) -> None:
    """Raise if a run would put a file where a folder is, or the other way round."""
    if checkpoint.exists() and checkpoint.is_dir() != isinstance(strategy, FullyShard):
        here = "a folder of a sharded run" if checkpoint.is_dir() else "a file of one process"
        raise UserError(
            f"{checkpoint} is {here}, which this run's other form cannot replace in one move;"
            " choose another --out (--resume takes both)"
        )


def check_rule(strategy: Strategy, optim: OptimConfig) -> None:
    """Raise unless the update rule works on rows of matrices."""
    if isinstance(strategy, FullyShard) and isinstance(optim.rule, Muon):
        raise UserError(
            f"Muon needs whole matrices but --trainer.strategy={NAME} spreads their rows over the"
            " ranks; choose --model.optim.rule=core.optim.AdamW, or --trainer.strategy=ddp"
        )
