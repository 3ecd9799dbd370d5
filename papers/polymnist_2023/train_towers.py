"""Align the five towers.

python -m papers.polymnist_2023.train_towers --config papers/polymnist_2023/towers.yaml
"""

from core.train_cli import train
from multimodal.alignment import AlignmentModule
from papers.polymnist_2023.data import ViewsData

if __name__ == "__main__":
    train(AlignmentModule, ViewsData)
