"""A small decoder with random weights, for tests of how its layers are computed."""

import torch

from text.model import TextConfig, TextModel


def small_decoder(tied: bool = True, layout: str = "qwen3", width: int = 64) -> TextModel:
    torch.manual_seed(0)
    config = TextConfig(
        width=width, depth=2, heads=4, context=32, vocabulary=60, prefix=0, layout=layout,
        tied=tied, mlp="gelu" if layout == "gpt2" else "swiglu",
    )  # fmt: skip
    network = TextModel(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()
