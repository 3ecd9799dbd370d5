"""A training command one of whose ranks is killed: python -m tests.dying_rank RANK OPTION..."""

import os
import signal
import sys

import image
from core.train_cli import train

RANK = int(sys.argv.pop(1)) if __name__ == "__main__" else 0


class Dying(image.ImageModule):
    """Image training that kills one rank in its third step."""

    def training_step(self, batch, batch_idx):
        """Die where it is told to."""
        if self.global_step == 2 and self.global_rank == RANK:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch, batch_idx)


if __name__ == "__main__":
    sys.argv.insert(1, str(RANK))  # the other ranks are started with the same words
    train(Dying, image.ImageData, sys.argv[2:])
