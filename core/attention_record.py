"""What attention looks at: weights recorded while a model runs, which is none the wiser."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextmanager
def recorded_attention() -> Iterator[list[Float[Tensor, "B N T L"]]]:
    """Yield a list that fills with the weights of every attention that runs inside the block.

    One entry a call of `scaled_dot_product_attention`, in the order of the calls: a network that
    runs once gives one a layer. Rows are queries and sum to 1. Inputs and outputs of the calls are
    left alone. Compiled networks do not call the function, so nothing is recorded of them.
    """
    weights: list[Float[Tensor, "B N T L"]] = []
    with _Recorder(weights):
        yield weights


def attention_weights(
    q: Float[Tensor, "B N T K"],
    k: Float[Tensor, "B M L K"],
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "B N T L"]:
    """Return softmax(q k / sqrt(K)) as `scaled_dot_product_attention` has it, in float32.

    Source: Vaswani et al. 2017, eq. 1; heads that share keys as in Ainslie et al. 2023.

    Args:
        mask: True where a query may look, or numbers that are added to the scores.
        causal: A query sees the keys up to its own number.
        scale: What scores are multiplied by instead of 1 / sqrt(K).
    """
    k = repeat(k, "B M L K -> B (M G) L K", G=q.shape[1] // k.shape[1])
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = torch.einsum("bntk,bnlk->bntl", q.float(), k.float()) * scale
    if causal:
        seen: Bool[Tensor, "T L"] = torch.ones_like(scores[0, 0], dtype=torch.bool).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1)


class _Recorder(TorchFunctionMode):
    def __init__(self, weights: list[Float[Tensor, "B N T L"]]):
        super().__init__()
        self.weights = weights

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.weights.append(_weights_of(*args, **kwargs))
        return func(*args, **kwargs)


@torch.no_grad()
def _weights_of(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Take the arguments of `scaled_dot_product_attention` by its own names."""
    return attention_weights(query, key, attn_mask, causal=is_causal, scale=scale).detach()
