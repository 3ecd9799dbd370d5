"""A process in which no annotation is checked, as what checks them cannot be compiled.

python tests/compiled_writer.py    # prints "same" if compiled steps write the same
"""

import torch

from core.noise import seeds_tensor
from text.compiled import CompiledStep
from text.model import TextConfig, TextModel
from text.sampling import TextOptions
from text.writing import Alphabet, Step, Writing

CONFIG = TextConfig(
    width=256, depth=2, heads=4, kv_heads=2, context=32, vocabulary=60, prefix=0, layout="qwen3"
)
PROMPTS = {"even": [[1, 5], [1, 9], [1, 3]], "uneven": [[1, 5], [1, 9, 9, 9], [1]]}


def model(seed: int) -> TextModel:
    """Return a small model."""
    torch.manual_seed(seed)
    network = TextModel(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


@torch.inference_mode()
def written(network: TextModel, prompts: list[list[int]], step: Step | None) -> list[list[int]]:
    """Return twelve tokens of each text."""
    options, seeds = TextOptions(max_tokens=12, top_p=None), seeds_tensor(range(len(prompts)))
    writing = Writing(network, prompts, options, seeds, Alphabet(60), step=step)
    return [writing.step().tolist() for _ in range(12)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    pairs = []
    for seed in (0, 1):  # two models of one shape, which must not share a graph
        network = model(seed)
        step = CompiledStep(network)
        # Twice, as a second text has a memory of its own.
        pairs += [
            (written(network, p, None), written(network, p, step)) for p in [*PROMPTS.values()] * 2
        ]
    print("same" if all(plain == compiled for plain, compiled in pairs) else pairs)
