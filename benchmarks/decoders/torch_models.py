"""Our decoder and the one of `transformers` with the same weights, and how each of them writes."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import UserError
from core.noise import seeds_tensor
from text.model import TextConfig, TextModel
from text.packing import DType, Quantisation, prepared, quick_step
from text.sampling import TextOptions
from text.writing import Alphabet, Step, Writing

GREEDY = TextOptions(temperature=0.0)
SHAPES: dict[str, dict[str, Any]] = {
    "0.8M": {"width": 128, "depth": 4, "heads": 4, "vocabulary": 96, "hidden": 352},
    "10M": {"width": 320, "depth": 8, "heads": 5, "vocabulary": 512, "hidden": 864},
    "124M": {"width": 768, "depth": 12, "heads": 12, "vocabulary": 50_304, "hidden": 2048},
}
"""MLPs are as wide as blocks of 32 weights allow, which is what llama.cpp quantises."""
Run = Callable[[], object]
AGREE = {"float32": 1e-4, "bfloat16": 0.1}
"""Largest difference of logits, relative to the largest logit."""


def models(size: str, context: int, dtype: torch.dtype) -> tuple[TextModel, Any]:
    """Return our model of that size and theirs with its weights."""
    net = our_model(size, context)
    theirs = their_model(net).to(dtype)
    return net.to(dtype), theirs


def our_model(size: str, context: int) -> TextModel:
    """Return our model of that size, float32; the same weights each time."""
    config = TextConfig(
        **SHAPES[size], context=context + 1, prefix=0, mlp="swiglu", layout="qwen3",
        rope_base=10_000.0, eps=1e-6,
    )  # fmt: skip
    torch.manual_seed(0)
    net = TextModel(config)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=config.width**-0.5)
        else:
            torch.nn.init.ones_(parameter)
    return net.eval()


def their_model(net: TextModel) -> Any:
    """Return a Qwen3 model of `transformers` with the weights of ours in its layout."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config, shape = net.config, net.config.attention
    mlp: Any = net.blocks[0].mlp
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            intermediate_size=mlp.out.in_features,
            num_hidden_layers=config.depth,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_width,
            max_position_embeddings=config.context,
            rms_norm_eps=config.eps or 1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
            tie_word_embeddings=config.tied,
            attention_bias=False,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
    )
    theirs.load_state_dict(dict(_renamed(net)), strict=True)
    return theirs.eval()


def _renamed(net: TextModel) -> Iterator[tuple[str, Tensor]]:
    """Yield their names and our weights."""
    shape = net.config.attention
    kv = shape.kv_heads * shape.head_width
    yield "model.embed_tokens.weight", net.embed.weight
    yield "lm_head.weight", net.embed.weight
    yield "model.norm.weight", net.norm.weight  # pyright: ignore
    for i, block in enumerate(net.blocks):
        own: Any = block
        name = f"model.layers.{i}"
        sizes = [shape.heads * shape.head_width, kv, kv]
        for letter, part in zip("qkv", own.attention.qkv.weight.split(sizes), strict=True):
            yield f"{name}.self_attn.{letter}_proj.weight", part
        yield f"{name}.self_attn.o_proj.weight", own.attention.out.weight
        yield f"{name}.self_attn.q_norm.weight", own.attention.q_norm.weight
        yield f"{name}.self_attn.k_norm.weight", own.attention.k_norm.weight
        yield f"{name}.input_layernorm.weight", own.attention_norm.weight
        yield f"{name}.post_attention_layernorm.weight", own.mlp_norm.weight
        gate, up = own.mlp.up.weight.chunk(2)
        yield f"{name}.mlp.gate_proj.weight", gate
        yield f"{name}.mlp.up_proj.weight", up
        yield f"{name}.mlp.down_proj.weight", own.mlp.out.weight


@torch.inference_mode()
def check_agreement(net: TextModel, theirs: Any, most: float) -> None:
    """Raise unless both give the same logits."""
    ids = prompts(2, 16, net.config.vocabulary)
    refuse_apart(logits_apart(net(ids), theirs(ids).logits), most)


def logits_apart(ours: Float[Tensor, "*B V"], theirs: Float[Tensor, "*B V"]) -> float:
    """Return the largest difference of two models' logits, relative to the largest logit."""
    return float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max())


def refuse_apart(apart: float, most: float) -> None:
    """Raise where logits lie further apart than rounding explains."""
    if not apart <= most:
        raise UserError(
            f"logits differ by {apart:.2g} of the largest but at most {most:g} is rounding; timing"
            " would compare different models"
        )


def ours(
    net: TextModel,
    ids: Int[Tensor, "B T"],
    tokens: int,
    dtype: DType,
    quantise: Quantisation | None = None,
    *,
    native: bool = False,
) -> Run:
    """Return what writes with our model, made ready as `text.generate` does."""
    ready = prepared(copy.deepcopy(net), len(ids), dtype, quantise, native=native)
    step = quick_step(ready)
    return lambda: our_tokens(ready, ids, tokens, step)


@torch.inference_mode()
def our_tokens(
    net: TextModel, ids: Int[Tensor, "B T"], tokens: int, step: Step | None = None
) -> Int[Tensor, "B T2"]:
    """Write with our model; no token ends a text."""
    alphabet = Alphabet(net.config.vocabulary, begin=0, ends=(-1,), silent=())
    seeds = seeds_tensor(range(len(ids)))
    writing = Writing(net, ids.tolist(), GREEDY, seeds, alphabet, step=step)
    return torch.stack([writing.step() for _ in range(tokens)], dim=1)


@torch.inference_mode()
def their_tokens(
    model: Any, ids: Int[Tensor, "B T"], tokens: int, cache: str = "static"
) -> Int[Tensor, "B T2"]:
    """Write with theirs, with a cache that grows (dynamic) or has its size from the start."""
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens,
        do_sample=False, cache_implementation=cache,
    )  # fmt: skip
    return made[:, ids.shape[1] :]


def prompts(batch: int, length: int, vocabulary: int) -> Int[Tensor, "B T"]:
    """Return the prompts that all systems go on with."""
    return torch.randint(vocabulary, (batch, length), generator=torch.Generator().manual_seed(1))
