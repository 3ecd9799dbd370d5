"""Claims about the step in C++: it is the model's, whatever the model."""

import copy
from ctypes import c_int64, sizeof
from dataclasses import replace

import pytest
import torch

from core.noise import seeds_tensor
from text.model import TextConfig, TextModel
from text.native.layers import Matrix
from text.native.library import library
from text.native.step import BlockStruct, DecoderStruct, MemoryStruct, NativeStep, NormStruct
from text.packing import to_native
from text.rotary import LinearStretch
from text.sampling import TextOptions
from text.writing import Alphabet, Writing

CONFIG = TextConfig(width=64, depth=2, heads=4, context=32, vocabulary=61, prefix=0)
MODELS = {
    "unison": CONFIG,
    "untied": replace(CONFIG, tied=False),
    "gpt2": replace(CONFIG, layout="gpt2", mlp="gelu"),
    "llama": replace(CONFIG, layout="llama", mlp="swiglu", kv_heads=2, rope_base=500.0),
    "qwen3": replace(CONFIG, layout="qwen3", mlp="swiglu", kv_heads=1, eps=1e-6),
    "one wide head": replace(CONFIG, heads=1, head_width=144),
    "narrow heads": replace(CONFIG, heads=3, width=66, head_width=22),
    "soft cap": replace(CONFIG, softcap=3.0),
    "prefix": replace(CONFIG, prefix=3),
    "learned places and a prefix": replace(CONFIG, layout="gpt2", mlp="gelu", prefix=3),
    "stretched": replace(CONFIG, layout="llama", rope_stretch=LinearStretch(2.0)),
}


def build(config: TextConfig, cond_dim: int = 0) -> TextModel:
    torch.manual_seed(0)
    network = TextModel(config, cond_dim)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


@torch.inference_mode()
def logits(network, step, padding, steps=12, first=7):
    """Return the logits of a prompt's end and of some steps after it."""
    rows = len(padding)
    ids = torch.arange(rows * first).reshape(rows, first) * 7 % 60
    memory = network.begin(network.prefix(None, rows), first + steps)
    out = [network.read_prompts(ids, memory, torch.tensor(padding))]
    out += [step((ids[:, 0] + 5 * t) % 60, memory).float() for t in range(steps)]
    assert memory.length == network.config.prefix + first + steps
    return torch.stack(out)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_the_structures_are_as_long_in_python_as_in_cpp():
    sizes = (c_int64 * 5).in_dll(library(), "unison_sizes")
    ours = (Matrix, NormStruct, BlockStruct, DecoderStruct, MemoryStruct)
    assert list(sizes) == [sizeof(structure) for structure in ours]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("padding", [(0,), (0, 0, 0), (0, 3, 6, 1, 0)], ids=str)
def test_the_step_in_cpp_is_the_models(name, padding):
    plain = build(MODELS[name])
    native = to_native(copy.deepcopy(plain), "float32")
    ours, exact = logits(native, NativeStep(native), padding), logits(plain, plain.step, padding)
    assert apart(ours, exact) < 2e-6


@pytest.mark.parametrize("name", ["unison", "gpt2", "qwen3", "narrow heads"])
@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_fewer_bits_lose_no_more_in_cpp_than_in_torch(name, kind):
    whole, half = build(MODELS[name]), build(MODELS[name]).bfloat16()
    if kind == "bfloat16":
        native, plain = to_native(copy.deepcopy(half), kind), half
        exact = copy.deepcopy(half).float()
    else:
        native = to_native(copy.deepcopy(whole), kind)
        plain, exact = to_native(copy.deepcopy(whole), kind), whole
    padding = (0, 2, 0)
    best = logits(exact, exact.step, padding)
    eager = apart(logits(plain, plain.step, padding), best)
    assert apart(logits(native, NativeStep(native), padding), best) < 1.01 * eager


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
def test_a_texts_step_is_the_same_in_any_batch_and_with_any_threads(kind):
    native = build(replace(CONFIG, layout="qwen3", kv_heads=2, context=600))
    native = to_native(native.bfloat16() if kind == "bfloat16" else native, kind)
    step, rows = NativeStep(native), 19
    caches = torch.randn(2, 2, rows, 2, 520, 16, generator=torch.Generator().manual_seed(1))

    def stepped(which: slice, threads: int) -> torch.Tensor:
        ids = torch.arange(rows)[which]
        memory = native.begin(native.prefix(None, len(ids)), 520)
        for cache, (keys, values) in zip(memory.caches, caches, strict=True):
            cache.keys.copy_(keys[which])
            cache.values.copy_(values[which])
            cache.length = 510
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        out = torch.stack([step(ids, memory) for _ in range(3)], dim=1)
        torch.set_num_threads(before)
        return out

    with torch.inference_mode():
        together = stepped(slice(None), 1)
        assert torch.equal(stepped(slice(None), 3), together)
        for part in (slice(4, 5), slice(3, 14), slice(2, 6)):
            assert torch.equal(stepped(part, 1), together[part])


def test_captions_are_guided_as_they_are_without():
    plain = build(replace(CONFIG, prefix=2), cond_dim=5)
    native = to_native(copy.deepcopy(plain), "float32")
    cond = torch.nn.functional.normalize(torch.randn(3, 5), dim=1)
    options = TextOptions(guidance=2.0, max_tokens=9)
    texts = [
        written(network, step, [[1]] * 3, options, cond)
        for network, step in ((plain, None), (native, NativeStep(native)))
    ]
    assert texts[0] == texts[1]


@torch.inference_mode()
def written(network, step, prompts, options, cond=None):
    seeds = seeds_tensor(range(len(prompts)))
    writing = Writing(network, prompts, options, seeds, Alphabet(60), cond, step)
    return [writing.step().tolist() for _ in range(options.max_tokens)]


def test_texts_are_those_of_the_model_and_a_second_batch_has_a_memory_of_its_own():
    plain = build(MODELS["qwen3"])
    native = to_native(copy.deepcopy(plain), "float32")
    step, options = NativeStep(native), TextOptions(max_tokens=12, top_p=None)
    for prompts in ([[1, 5]], [[1, 5], [1, 9, 9, 9], [1]], [[1, 5]]):
        assert written(native, step, prompts, options) == written(plain, None, prompts, options)


def test_a_step_beyond_its_memory_is_refused_before_anything_is_written():
    native = to_native(build(CONFIG), "float32")
    step, memory = NativeStep(native), native.begin(native.prefix(None, 1), 2)
    for _ in range(2):
        step(torch.tensor([5]), memory)
    with pytest.raises(AssertionError, match="does not fit"):
        step(torch.tensor([5]), memory)


def test_ids_that_the_table_lacks_are_refused():
    native = to_native(build(CONFIG), "float32")
    step, memory = NativeStep(native), native.begin(native.prefix(None, 1), 2)
    for wrong in (-1, 61):
        with pytest.raises(IndexError, match="61 tokens"):
            step(torch.tensor([wrong]), memory)
