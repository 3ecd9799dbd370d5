"""What a type of weights costs: the perplexity of a split with it, beside float32.

python -m text.perplexity --checkpoint runs/text/last.ckpt --root data/tokens --quantise int8
"""

import copy
import math

import torch
from jaxtyping import Int
from torch import Tensor

from core.checkpoint import load_module
from core.cli import command
from core.errors import UserError
from text.data import TextData
from text.model import TextModel
from text.module import TextModule, next_token_loss
from text.packing import DType, Quantisation, prepared
from text.windows import IGNORE

Window = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]
"""Tokens, and the next of each, IGNORE where none is asked for."""


def perplexity(
    checkpoint: str,
    root: str,
    quantise: Quantisation | None = None,
    dtype: DType = "float32",
    batch_size: int = 8,
    batches: int | None = None,
) -> tuple[float, float]:
    """Print and return the perplexity of the validation split, in float32 and as asked for.

    Args:
        checkpoint: A last.ckpt of `python -m text.train`.
        root: Token shards of the same tokenizer.
        quantise: Weights in eight bits.
        dtype: Type of weights and activations.
        batch_size: Windows side by side.
        batches: How many batches of them; by default the whole split.
    """
    module = load_module(checkpoint, TextModule)
    windows = read_windows(module, root, batch_size, batches)
    plain = perplexity_of(module.net, windows)
    net = prepared(copy.deepcopy(module.net), batch_size, dtype, quantise)
    other = perplexity_of(net, windows)
    tokens = sum(int((targets != IGNORE).sum()) for _, targets in windows)
    print(f"float32 {plain:.4f}, {quantise or dtype} {other:.4f}: {other / plain - 1:+.4%}")
    print(f"({tokens:,} tokens of {root})")
    return plain, other


def read_windows(
    module: TextModule, root: str, batch_size: int, batches: int | None
) -> list[Window]:
    """Return windows of a validation split that was written with the module's tokenizer."""
    data = TextData(root, context=module.net.config.context, batch_size=batch_size)
    if data.tokenizer is None:
        raise UserError(f"{root} holds no tokens; write some with: python -m text.tokens")
    module.codec.settle(data.tokenizer, f"the tokenizer of the shards in {root}")
    found = []
    for number, batch in enumerate(data.val_dataloader()):
        if number == batches:
            break
        found.append((batch["tokens"], batch["targets"]))
    return found


@torch.inference_mode()
def perplexity_of(net: TextModel, windows: list[Window]) -> float:
    """Return the exponential of the mean loss of all targets."""
    nats, count = 0.0, 0
    for tokens, targets in windows:
        total, targets_here = next_token_loss(net(tokens), targets)
        nats, count = nats + total.item(), count + int(targets_here)
    return math.exp(nats / count)


if __name__ == "__main__":
    command(perplexity)
