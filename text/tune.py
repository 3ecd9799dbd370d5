"""Fine-tune a language model on conversations, all of it or by adapters.

python -m text.tune --config configs/text/chat.yaml --init runs/text/last.ckpt
"""

from core.cli import guard
from core.train_cli import TrainCLI
from text.chat_data import ChatData
from text.module import TextModule


class TuneCLI(TrainCLI):
    """The training command that measures what it starts from, before its first step."""

    def begin(self) -> None:
        """Load what training starts from, and log its losses as step 0."""
        super().begin()
        if self.config.init:
            self.trainer.validate(self.model, self.datamodule, verbose=False)


if __name__ == "__main__":
    guard(lambda: TuneCLI(TextModule, ChatData))
