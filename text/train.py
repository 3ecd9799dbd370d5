"""Train the text model: python -m text.train --config configs/text/world.yaml."""

from core.train_cli import train
from text.data import TextData
from text.module import TextModule

if __name__ == "__main__":
    train(TextModule, TextData)
