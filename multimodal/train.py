"""Align the towers: python -m multimodal.train --config configs/multimodal/world.yaml."""

from core.train_cli import train
from multimodal.alignment import AlignmentModule
from multimodal.data import PairedData

if __name__ == "__main__":
    train(AlignmentModule, PairedData)
