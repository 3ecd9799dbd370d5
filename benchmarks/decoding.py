"""Tokens a second beside `transformers`: the same weights, type and threads.

    python -m benchmarks.decoding --sizes 0.8M 10M --batches 1 16 --out docs/decoding.json

Both write 256 greedy tokens after a prompt of 16 with a static cache, in turns, and only after
their logits were found to agree. Rows of `transformers` are its generate() as it comes and, with
--compiled true, with a compiled forward pass; the last column is over the better of the two. Ours
are a step in PyTorch and the one in C++, with weights of that type and of eight bits.
Needs `pip install -e ".[test]"`.
"""

import copy
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from core.cli import command, plain_options
from core.errors import UserError
from core.files import new_file
from core.noise import seeds_tensor
from text.model import TextConfig, TextModel
from text.packing import DType, Quantisation, prepared, quick_step
from text.sampling import TextOptions
from text.writing import Alphabet, Step, Writing

GREEDY = TextOptions(temperature=0.0)
SHAPES: dict[str, dict[str, Any]] = {
    "0.8M": {"width": 128, "depth": 4, "heads": 4, "vocabulary": 96},
    "10M": {"width": 320, "depth": 8, "heads": 5, "vocabulary": 512},
    "124M": {"width": 768, "depth": 12, "heads": 12, "vocabulary": 50_304},
}
AGREE = {"float32": 1e-4, "bfloat16": 0.1}
"""How far logits may lie apart, of a largest one near 1."""
Run = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One system's tokens a second."""

    size: str
    batch: int
    dtype: str
    threads: int
    system: str
    median: float
    least: float
    most: float


def decoding(
    sizes: tuple[str, ...] = tuple(SHAPES),
    batches: tuple[int, ...] = (1, 16),
    dtypes: tuple[str, ...] = ("float32", "bfloat16"),
    threads: tuple[int, ...] = (1,),
    tokens: int = 256,
    prompt: int = 16,
    repeats: int = 5,
    compiled: bool = False,
    out: Path | None = None,
) -> None:
    """Time every combination and print a table.

    Args:
        sizes: Of 0.8M, 10M and 124M parameters.
        batches: Texts side by side.
        dtypes: Types of weights and activations.
        threads: Threads of torch.
        tokens: Tokens to write.
        prompt: Tokens of the prompt.
        repeats: Runs of each, in turns; the table has median, least and most.
        compiled: Compile their forward pass too, which takes minutes.
        out: A .json file to add the rows to.
    """
    print(
        "| parameters | batch | type | threads | system | tokens/s | least | most | over theirs |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        for dtype in dtypes:
            net, theirs = models(size, prompt + tokens, getattr(torch, dtype))
            check_agreement(net, theirs, AGREE[dtype])
            for batch in batches:
                for count in threads:
                    torch.set_num_threads(count)
                    runs = systems(net, theirs, batch, prompt, tokens, compiled=compiled)
                    rows = timed(runs, batch * tokens, repeats)
                    report([Row(size, batch, dtype, count, *row) for row in rows], out)


def models(size: str, context: int, dtype: torch.dtype) -> tuple[TextModel, Any]:
    """Return our model of that size and theirs with its weights."""
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
    return net.eval().to(dtype), their_model(net).to(dtype)


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
    ids = _prompts(2, 16, net.config.vocabulary)
    ours, other = net(ids).float(), theirs(ids).logits.float()
    apart = float((ours - other).abs().max() / other.abs().max())
    if apart > most:
        raise UserError(f"logits differ by {apart:.2g} of the largest; timing would compare others")


def systems(
    net: TextModel, theirs: Any, batch: int, prompt: int, tokens: int, *, compiled: bool
) -> dict[str, Run]:
    """Return what is to be timed, by name."""
    ids = _prompts(batch, prompt, net.config.vocabulary)
    dtype: Any = str(net.embed.weight.dtype).removeprefix("torch.")
    runs: dict[str, Run] = {"transformers": lambda: their_tokens(theirs, ids, tokens)}
    if compiled:
        quick = copy.deepcopy(theirs)
        quick.forward = torch.compile(quick.forward)
        runs["transformers, compiled"] = lambda: their_tokens(quick, ids, tokens)
    return runs | {
        "ours": ours(net, ids, tokens, dtype),
        "ours, C++": ours(net, ids, tokens, dtype, native=True),
        "ours, int8": ours(net, ids, tokens, dtype, "int8"),
    }


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
def their_tokens(model: Any, ids: Int[Tensor, "B T"], tokens: int) -> Int[Tensor, "B T2"]:
    """Write with theirs."""
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens,
        do_sample=False, cache_implementation="static",
    )  # fmt: skip
    return made[:, ids.shape[1] :]


def timed(runs: dict[str, Run], tokens: int, repeats: int) -> list[tuple[str, float, float, float]]:
    """Return name, median, least and most tokens a second, of runs in turns."""
    for run in runs.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            rates[name].append(tokens / (time.perf_counter() - begin))
    return [(name, statistics.median(r), min(r), max(r)) for name, r in rates.items()]


def report(rows: Sequence[Row], out: Path | None) -> None:
    """Print rows, and add them to a file."""
    base = max(row.median for row in rows if row.system.startswith("transformers"))
    for row in rows:
        cells = (row.size, row.batch, row.dtype, row.threads, row.system)
        numbers = f"{row.median:.1f} | {row.least:.1f} | {row.most:.1f} | {row.median / base:.2f}"
        print(f"| {' | '.join(map(str, cells))} | {numbers} |", flush=True)
    if out is not None:
        known = json.loads(out.read_text()) if out.exists() else []
        with new_file(out) as partial:
            partial.write_text(json.dumps(known + [vars(row) for row in rows], indent=1) + "\n")


def _prompts(batch: int, length: int, vocabulary: int) -> Int[Tensor, "B T"]:
    return torch.randint(vocabulary, (batch, length), generator=torch.Generator().manual_seed(1))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    lists = ("--sizes", "--batches", "--dtypes", "--threads")
    command(decoding, plain_options(sys.argv[1:], lists=lists))
