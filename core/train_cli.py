"""The one place where the training command line is shaped.

    python -m image.train --config A.yaml --config B.yaml --model.model.net.width=96 --out runs/a

Configs compose left to right, overrides come after them; the data's embedding width is linked into
the model, so no config repeats it.
"""

import logging
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import LambdaCallback, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from core.callbacks import Progress, Samples
from core.checkpoint import (
    AtomicCheckpointIO,
    check_weights,
    data_order,
    describe,
    read_checkpoint,
)
from core.cli import guard, strict
from core.configs import DEFAULTS, find_configs
from core.cost import Cost
from core.csv_log import CSVLog, LogFirst
from core.data import ShardData
from core.devices import check_accelerator
from core.ema import PowerEMA
from core.errors import UserError
from core.files import new_file
from core.module import TrainedModule
from core.optim import build_optimiser, check_moments
from core.plain import with_tags
from core.precision import precision_for
from core.preemption import StopOnSignal, environments
from core.run_folder import check_vacant, folder_of, locked
from core.saving import Saver
from core.sharding import check_form, check_rule, register_strategies

REFUSALS = (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError)
"""What Lightning raises where options fit neither each other nor the machine."""


def train(module: type[TrainedModule], data: type[ShardData], argv: list[str] | None = None) -> Any:
    """Run a training command; a mistake in its options or data is one line and exit code 2."""
    return guard(lambda: TrainCLI(module, data, argv))


class TrainCLI(LightningCLI):
    """A Lightning command line without subcommands: parse, build, fit."""

    def __init__(
        self, module: type[TrainedModule], data: type[ShardData], argv: list[str] | None = None
    ):
        # The console of a run is the progress bar; libraries' notes on their own future are noise.
        warnings.filterwarnings("ignore", module=r"lightning\.|torch\.|jsonargparse")
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
        super().__init__(
            module,
            data,
            args=argv,
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            parser_class=strict(LightningArgumentParser),
            trainer_defaults={
                "logger": False,
                "enable_checkpointing": False,
                "inference_mode": False,  # weights gathered under it could not be trained on
            },
            parser_kwargs={"default_config_files": [str(DEFAULTS)]},
        )
        self.reached = 0
        self.fit_run()

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run that belong to neither model nor data nor Trainer."""
        parser.add_argument(
            "--out", type=str | None, default=None, help="folder of the run; --resume knows its own"
        )
        parser.add_argument(
            "--resume", type=str | None, default=None, help="checkpoint to go on from"
        )
        parser.add_argument("--init", type=str | None, default=None, help="checkpoint to fine-tune")
        parser.add_argument("--save_every", type=int, default=200, help="steps between checkpoints")
        parser.add_argument("--keep", type=int, default=0, help="past checkpoints that stay")
        parser.add_argument("--samples", type=int, default=4, help="times to write samples")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the options; configurations that come with the package are found anywhere."""
        words = sys.argv[1:] if args is None else args
        self.config = parser.parse_args(list(find_configs(words)))

    def before_instantiate_classes(self) -> None:
        """Link what the data decides into the model, and choose a precision that this CPU has."""
        out, resume = self.config.out, self.config.resume
        if out is None and resume is None:
            raise UserError("--out is missing; name a new folder for the run")
        if resume and not Path(resume).exists():
            raise UserError(f"--resume {resume} is not there; check the path")
        self.config.out = out or folder_of(resume)
        asked = self.config.trainer
        check_accelerator(asked.accelerator)
        asked.precision = precision_for(asked.precision, asked.accelerator)
        cast(type[ShardData], self.datamodule_class).link(self.config)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Build the Trainer with our loggers, callbacks and atomic checkpoints."""
        out, ema = Path(self.config.out), PowerEMA()
        register_strategies()
        saver, log = Saver(out, self.config.save_every, self.config.keep), CSVLog(out)
        self.stop = StopOnSignal(saver)
        callbacks = [
            ema,
            Cost(out),
            Progress(out),
            Samples(out, self.config.samples, ema),
            LogFirst(log),
            LambdaCallback(on_train_start=lambda *_: self._write_config(out)),
            saver,
            self.stop,
        ]
        if sys.stderr.isatty():
            callbacks.append(TQDMProgressBar())
        kwargs |= {
            "callbacks": callbacks,
            "logger": [log, TensorBoardLogger(out, "", "tensorboard")],
            "plugins": [AtomicCheckpointIO(), *environments()],
            "enable_progress_bar": sys.stderr.isatty(),
            "default_root_dir": out,
        }
        try:
            return super().instantiate_trainer(**kwargs)
        except REFUSALS as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{_first(error)}; change that option of --trainer") from error

    def fit_run(self) -> None:
        """Check all that may be refused, and train: only then does the run's folder change."""
        out = Path(self.config.out)
        check_rule(self.trainer.strategy, self.model.optim)
        check_form(self.trainer.strategy, out / "last.ckpt")
        check_vacant(out, self.config.resume)
        alone = locked(out) if self.trainer.is_global_zero else nullcontext()
        with alone, self.stop.listening():
            self.begin()
            if self._is_over():
                return
            self._fit(out)

    def _fit(self, out: Path) -> None:
        try:
            self.trainer.fit(
                self.model, self.datamodule, ckpt_path=self.config.resume, weights_only=True
            )
        except MisconfigurationException as error:
            raise UserError(f"{_first(error)}; change that option of --trainer") from error
        except RuntimeError as error:
            if self.trainer.world_size > 1 and _is_lost_connection(error):
                raise UserError(
                    f"rank {self.trainer.global_rank} lost another rank, whose own message says why"
                    f" ({str(error).rpartition('] ')[2]}); go on with --resume {out}/last.ckpt"
                ) from error
            if _is_out_of_memory(error):
                raise UserError(
                    f"memory is full ({_first(error)}); lower --data.batch_size, or choose a"
                    " smaller model"
                ) from error
            raise

    def begin(self) -> None:
        """Load what training starts from; of a run to go on with, check that it fits."""
        kind = self.model.kind
        self._open_data()
        if self.config.init:
            self.model.start_from(read_checkpoint(self.config.init, kind))
        if self.config.resume:
            self._check_resumed(self.config.resume, kind)

    def _open_data(self) -> None:
        """Open the dataset, so that one that is not there or too small is told before all else."""
        self.datamodule.trainer = self.trainer
        batches = len(self.datamodule.train_dataloader())
        self.datamodule.val_dataloader()
        every = self.trainer.val_check_interval
        if self.trainer.check_val_every_n_epoch and isinstance(every, int) and every > batches:
            raise UserError(
                f"--trainer.val_check_interval is {every} but an epoch has {batches} batches; lower"
                " it, or leave --trainer.check_val_every_n_epoch out to count steps of the run"
            )

    def _check_resumed(self, path: str, kind: str) -> None:
        """Refuse what does not fit before anything starts, and take up the log."""
        checkpoint = read_checkpoint(path, kind)
        self.reached = checkpoint["global_step"]
        check_weights(self.model, checkpoint["state_dict"])
        optimiser = build_optimiser(self.model, self.model.optim, 1)["optimizer"]
        for held in checkpoint["optimizer_states"]:
            check_moments(optimiser.state_dict(), held)
        if order := data_order(checkpoint):
            self.datamodule.check_order(order)
        self.trainer.loggers[0].take_up(self.reached - 1)  # pyright: ignore[reportAttributeAccessIssue]

    def _is_over(self) -> bool:
        """Tell whether a resumed run has all its steps, and say so."""
        total = self.trainer.max_steps
        over = 0 < total <= self.reached
        if over and self.trainer.is_global_zero:
            print(
                f"{self.config.resume} is at step {self.reached} and --trainer.max_steps is"
                f" {total}: nothing to do"
            )
        return over

    def _write_config(self, out: Path) -> None:
        """Write what makes the same run again, wherever its folder is moved."""
        if not self.trainer.is_global_zero:
            return
        kept = self.config.clone()
        kept.resume = kept.init = kept.out = None
        with new_file(out / "config.yaml") as file:
            # jsonargparse drops the name of a chosen type, without which it cannot be read back.
            dumped = yaml.safe_load(self.parser.dump(kept))
            dumped["model"] = with_tags(dumped["model"], describe(self.model)["init"])
            file.write_text(yaml.safe_dump(dumped, sort_keys=False))


def _first(error: Exception) -> str:
    """Return the first sentence of a library's message."""
    line = " ".join(str(error).split())
    return line.split(". ")[0].rstrip(".") or type(error).__name__


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _is_lost_connection(error: RuntimeError) -> bool:
    """Tell whether a collective failed because its other side went away."""
    known = (torch.distributed.DistBackendError, torch.distributed.DistNetworkError)
    return isinstance(error, known) or "gloo/transport" in str(error)
