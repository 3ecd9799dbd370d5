"""Train the image flow: python -m image.train --config configs/image/world.yaml."""

from core.train_cli import train
from image.data import ImageData
from image.module import ImageModule

if __name__ == "__main__":
    train(ImageModule, ImageData)
