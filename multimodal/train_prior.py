"""Train the prior.

python -m multimodal.train_prior --config configs/multimodal/prior_world.yaml
"""

from core.train_cli import train
from multimodal.data import EmbeddedData
from multimodal.prior import PriorModule

if __name__ == "__main__":
    train(PriorModule, EmbeddedData)
