"""A GGUF file for llama.cpp from a folder of `transformers`; needs numpy and the package gguf.

python -m benchmarks.decoders.gguf_file out/hf out/model.gguf float32

It holds no tokenizer: the benchmark gives token ids.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"float32": "F32", "bfloat16": "BF16", "q8_0": "Q8_0"}
"""Type of the matrices -> its name in GGUF; vectors (gains of norms) stay float32."""
LAYOUTS = ("llama", "qwen3")


def write_gguf(folder: Path, out: Path, kind: str) -> None:
    """Write the model of a folder (config.json, model.safetensors) as one GGUF file.

    Args:
        folder: Of a Llama or Qwen3 model.
        out: File to write.
        kind: One of KINDS.
    """
    import gguf  # pyright: ignore[reportMissingImports]

    config = json.loads((folder / "config.json").read_text())
    layout = config["model_type"]
    if layout not in LAYOUTS:
        raise ValueError(f"model_type {layout!r} is not one of {', '.join(LAYOUTS)}")
    writer = gguf.GGUFWriter(out, layout)
    _describe(writer, config)
    arch = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[layout]
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    wanted = gguf.GGMLQuantizationType[KINDS[kind]]
    for name, weight in read_safetensors(folder / "model.safetensors"):
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        if layout == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = rotary_pairs(weight, config, queries=name.endswith("q_proj.weight"))
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, f"GGUF has no name for {name}"
        kept = wanted if weight.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(target, gguf.quants.quantize(weight, kept), raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and float32 arrays of a file, as huggingface/safetensors lays it out."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        yield name, _as_float32(data[begin:end], entry["dtype"]).reshape(entry["shape"])


def _as_float32(data: bytes, dtype: str) -> np.ndarray:
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float32)


def _describe(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or config
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def rotary_pairs(weight: np.ndarray, config: dict[str, Any], *, queries: bool) -> np.ndarray:
    """Put the two channels that a rotation mixes side by side, as llama.cpp's Llama has them."""
    heads = config["num_attention_heads" if queries else "num_key_value_heads"]
    pairs = weight.reshape(heads, 2, len(weight) // heads // 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


if __name__ == "__main__":
    write_gguf(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
