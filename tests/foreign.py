"""Models of others, small and random, as `transformers` saves them: what conversion is held to."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TEXTS = [
    "Once upon a time there was a fox.",
    "Der Fuchs läuft über die Straße, größer als 12 345 Hunde.",
    "Быстрая лиса; 敏捷的狐狸跳过了狗。",
    "ノート 🦊👩‍🚀 مرحبا\n\n\tdef f(x):\r\n    return x  # done",
]
END = "<|endoftext|>"
ROTARY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 44,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
LLAMA3: dict[str, Any] = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config,
        {"n_embd": 33, "n_layer": 2, "n_head": 3, "n_positions": 64},
    ),
    "gpt2_untied": (
        GPT2LMHeadModel,
        GPT2Config,
        {
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
            "n_inner": 50,
            "tie_word_embeddings": False,
        },
    ),
    "llama": (LlamaForCausalLM, LlamaConfig, ROTARY),
    "llama_tied": (
        LlamaForCausalLM,
        LlamaConfig,
        ROTARY | {"head_dim": 6, "tie_word_embeddings": True, "num_key_value_heads": 4},
    ),
    "llama_llama3": (LlamaForCausalLM, LlamaConfig, ROTARY | {"rope_parameters": LLAMA3}),
    "llama_linear": (LlamaForCausalLM, LlamaConfig, ROTARY | {"rope_parameters": LINEAR}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, ROTARY | {"head_dim": 12}),
    "qwen3_tied": (
        Qwen3ForCausalLM,
        Qwen3Config,
        ROTARY | {"head_dim": 10, "num_key_value_heads": 1, "tie_word_embeddings": True},
    ),
}


def foreign_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer with the special tokens that a family has."""
    special = {
        "gpt2": [],
        "llama": ["<|begin_of_text|>", "<|end_of_text|>"],
        "qwen3": [END, "<|im_start|>", "<|im_end|>"],
    }[family]
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    library.train_from_iterator(TEXTS * 4, trainer)
    library.add_special_tokens(special or [END])
    roles: dict[str, dict[str, str]] = {
        "gpt2": {"bos_token": END, "eos_token": END},
        "llama": {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
        "qwen3": {"eos_token": "<|im_end|>", "pad_token": END},
    }
    if family == "llama":
        begin = special[0]
        library.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, library.token_to_id(begin))]
        )
    else:
        library.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(tokenizer_object=library, **roles[family])


def foreign_model(case: str, **changes: Any) -> Any:
    """Return a random model in which everything matters."""
    model_class, config_class, sizes = CASES[case]
    tokenizer = foreign_tokenizer(case.partition("_")[0])
    ids = {f"{r}_token_id": getattr(tokenizer, f"{r}_token_id") for r in ("bos", "eos", "pad")}
    torch.manual_seed(0)
    config = config_class(**sizes | {"vocab_size": len(tokenizer) + 5} | ids | changes)
    model = model_class(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def save_foreign(case: str, folder: Path, **options: Any) -> Any:
    """Save a random model and its tokenizer, and return the model."""
    model = foreign_model(case)
    model.save_pretrained(folder, **options)
    foreign_tokenizer(case.partition("_")[0]).save_pretrained(folder)
    return model
