"""What the decoding benchmark compares is the same model, each system in a process of its own."""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.decoders.gguf_file import read_safetensors, rotary_pairs
from benchmarks.decoders.torch_models import (
    check_agreement,
    models,
    our_tokens,
    prompts,
    their_tokens,
)
from benchmarks.decoders.torch_worker import runner
from benchmarks.decoding import decoding
from core.errors import UserError


@pytest.fixture(scope="module")
def pair():
    return models("0.8M", 40, torch.float32)


def test_both_models_are_the_same_function(pair):
    check_agreement(*pair, 1e-4)
    other = copy.deepcopy(pair[0])
    other.blocks[-1].mlp.out.weight.data.mul_(1.01)
    with pytest.raises(UserError, match="logits differ"):
        check_agreement(other, pair[1], 1e-4)


@pytest.mark.parametrize("cache", ["static", "dynamic"])
def test_both_write_the_same_tokens(pair, cache):
    ids = torch.randint(96, (3, 8))
    assert torch.equal(our_tokens(pair[0], ids, 12), their_tokens(pair[1], ids, 12, cache))


@pytest.mark.parametrize("system", ["transformers", "ours", "ours, C++"])
def test_every_system_writes_what_our_model_writes(pair, system):
    found = runner(system, "0.8M", "float32", 2, 6, 5)()
    assert torch.equal(found, our_tokens(pair[0], prompts(2, 6, 96), 5))


@pytest.mark.slow
def test_the_compiled_system_writes_what_our_model_writes(pair):
    found = runner("transformers, compiled", "0.8M", "float32", 2, 6, 5)()
    assert torch.equal(found, our_tokens(pair[0], prompts(2, 6, 96), 5))


def test_each_system_is_a_row_and_one_that_is_not_installed_says_so(tmp_path, capsys):
    out = tmp_path / "rows.json"
    python = Path(sys.executable)  # without llama-cpp-python
    decoding(("0.8M",), (2,), ("float32",), (1,), tokens=4, prompt=3, repeats=2,
             systems=("ours", "ours, int8", "llama.cpp"), llama_cpp=python, out=out)  # fmt: skip
    rows = [line for line in capsys.readouterr().out.splitlines() if "0.8M" in line]
    names = ["ours", "ours, int8", "llama.cpp"]
    assert [row.split("|")[5].strip() for row in rows] == names
    assert "not installed" in rows[2]
    found = json.loads(out.read_text())
    assert [row["system"] for row in found] == names
    assert all(row["least"] <= row["median"] <= row["most"] for row in found[:2])
    assert "not installed" in found[2]["note"]


@pytest.mark.parametrize(
    "wrong",
    [{"sizes": ("7M",)}, {"dtypes": ("float16",)}, {"systems": ("vllm",)}, {"batches": (0,)},
     {"threads": (0,)}],
)  # fmt: skip
def test_what_is_not_known_is_refused_before_anything_runs(wrong):
    with pytest.raises(UserError, match=r"is not one of|must be at least 1"):
        decoding(**wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_read_from_safetensors_without_their_library(dtype, tmp_path):
    weights = {"a": torch.randn(3, 5).to(dtype), "b.c": torch.randn(7).to(dtype)}
    save_file(weights, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = dict(read_safetensors(tmp_path / "x.safetensors"))
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], weight.float().numpy())


def test_rotary_halves_become_pairs():
    config = {"num_attention_heads": 2, "num_key_value_heads": 1}
    rows = np.arange(8.0)[:, None]
    assert rotary_pairs(rows, config, queries=True)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert rotary_pairs(rows, config, queries=False)[:, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
