"""The one place where the training command line is shaped.

    python -m image.train --config A.yaml --config B.yaml --model.net.width=96 --resume last.ckpt

Configs compose left to right, overrides come after them; the data's embedding width is linked into
the model, so no config repeats it.
"""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from core.callbacks import Progress, Samples
from core.checkpoint import (
    AtomicCheckpointIO,
    check_weights,
    describe,
    read_checkpoint,
)
from core.cli import guard, strict
from core.configs import DEFAULTS, find_configs
from core.cost import Cost
from core.csv_log import CSVLog, LogFirst
from core.data import ShardData
from core.ema import PowerEMA
from core.errors import UserError
from core.files import new_file
from core.module import TrainedModule
from core.plain import with_tags
from core.precision import precision_for
from core.preemption import StopOnSignal, environments, signals_given_back
from core.saving import Saver
from core.sharding import check_form, check_rule, register_strategies


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
        self.fit_run()

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run that belong to neither model nor data nor Trainer."""
        parser.add_argument("--out", type=str, required=True, help="folder of the run")
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
        asked = self.config.trainer
        asked.precision = precision_for(asked.precision, asked.accelerator)
        cast(type[ShardData], self.datamodule_class).link(self.config)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Build the Trainer with our loggers, callbacks and atomic checkpoints."""
        out, ema = Path(self.config.out), PowerEMA()
        register_strategies()
        saver, log = Saver(out, self.config.save_every, self.config.keep), CSVLog(out)
        callbacks = [
            ema,
            Cost(out),
            Progress(out),
            Samples(out, self.config.samples, ema),
            LogFirst(log),
            saver,
            StopOnSignal(saver),
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
        return super().instantiate_trainer(**kwargs)

    def fit_run(self) -> None:
        """Write the configuration, load what was asked for, and train."""
        out = Path(self.config.out)
        check_rule(self.trainer.strategy, self.model.optim)
        check_form(self.trainer.strategy, out / "last.ckpt")
        if self.trainer.is_global_zero:
            self._write_config(out)
        self.begin()
        try:
            with signals_given_back():
                self.trainer.fit(
                    self.model, self.datamodule, ckpt_path=self.config.resume, weights_only=True
                )
        except RuntimeError as error:
            if self.trainer.world_size > 1 and _is_lost_connection(error):
                raise UserError(
                    f"rank {self.trainer.global_rank} lost another rank, whose own message says why"
                    f" ({str(error).rpartition('] ')[2]}); go on with --resume {out}/last.ckpt"
                ) from error
            raise

    def begin(self) -> None:
        """Load what training starts from; of a run to go on with, check that it fits."""
        kind = self.model.kind
        if self.config.init:
            self.model.start_from(read_checkpoint(self.config.init, kind))
        if self.config.resume:
            self._check_resumed(self.config.resume, kind)

    def _check_resumed(self, path: str, kind: str) -> None:
        """Refuse what does not fit before anything starts, and take up the log."""
        checkpoint = read_checkpoint(path, kind)
        check_weights(self.model, checkpoint["state_dict"])
        self.trainer.loggers[0].take_up(checkpoint["global_step"] - 1)  # pyright: ignore[reportAttributeAccessIssue]

    def _write_config(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        kept = self.config.clone()
        kept.resume = kept.init = None
        with new_file(out / "config.yaml") as file:
            # jsonargparse drops the name of a chosen type, without which it cannot be read back.
            dumped = yaml.safe_load(self.parser.dump(kept))
            dumped["model"] = with_tags(dumped["model"], describe(self.model)["init"])
            file.write_text(yaml.safe_dump(dumped, sort_keys=False))


def _is_lost_connection(error: RuntimeError) -> bool:
    """Tell whether a collective failed because its other side went away."""
    known = (torch.distributed.DistBackendError, torch.distributed.DistNetworkError)
    return isinstance(error, known) or "gloo/transport" in str(error)
