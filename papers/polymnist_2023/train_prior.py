"""Train the prior over five embeddings.

python -m papers.polymnist_2023.train_prior --config papers/polymnist_2023/prior.yaml
"""

from core.train_cli import train
from multimodal.prior import PriorModule
from papers.polymnist_2023.data import ViewEmbeddings

if __name__ == "__main__":
    train(PriorModule, ViewEmbeddings)
