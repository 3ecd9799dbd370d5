"""Claims about adapters in PEFT's layout, with PEFT and transformers as the oracle."""

import json
from pathlib import Path

import pytest
import torch

from core.checkpoint import AtomicCheckpointIO, describe, load_module
from core.cli import guard
from text.hf_write import write_hf
from text.lora import load, save
from text.low_rank import LoRA, adapt
from text.model import TextConfig
from text.module import TextModule
from text.peft_files import CONFIG, WEIGHTS
from text.tokenizer import TextTokenizer

CODEC = TextTokenizer.train([], kind="byte", chat=True)
SHAPE = {"width": 32, "depth": 2, "heads": 4, "context": 24, "vocabulary": len(CODEC), "prefix": 0}
MODELS = {
    "unison": TextConfig(**SHAPE),
    "qwen3": TextConfig(
        **SHAPE, layout="qwen3", mlp="swiglu", kv_heads=2, head_width=6, tied=False, eps=1e-6
    ),
    "llama": TextConfig(**SHAPE, layout="llama", mlp="swiglu", kv_heads=2, eps=1e-5),
}
TARGETS = {"all": None, "q and v": ("q", "v"), "the MLP": ("up", "down")}
IDS = torch.arange(48).view(2, 24) * 5 % len(CODEC)


def write(path: Path, config: TextConfig, lora: LoRA | None = None) -> Path:
    """Write a checkpoint whose weights are all drawn, adapters behind the base."""
    torch.manual_seed(0)
    module = TextModule(config)
    module.codec.use(CODEC)
    for p in module.parameters():
        torch.nn.init.normal_(p, mean=float(p.ndim == 1), std=0.2)  # gains are about 1
    if lora is not None:
        adapt(module.net, lora)
        module.hparams["lora"] = lora
        for p in module.net.parameters():
            if p.requires_grad:
                torch.nn.init.normal_(p, std=0.2)
    held = {"state_dict": module.state_dict(), "unison": describe(module) | {"seed": 0}}
    AtomicCheckpointIO().save_checkpoint(held, path)
    return path


@pytest.fixture(params=MODELS)
def exported(request, tmp_path) -> tuple[TextConfig, Path, Path]:
    """Return a model's shape, its checkpoint, and what transformers loads of it."""
    config = MODELS[request.param]
    base = write(tmp_path / "base.ckpt", config)
    write_hf(base, tmp_path / "base", raw=False)
    return config, base, tmp_path / "base"


def theirs(folder: Path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


@torch.no_grad()
def logits(checkpoint: Path) -> torch.Tensor:
    return load_module(checkpoint, TextModule).net(IDS)


@pytest.mark.parametrize("targets", TARGETS)
def test_our_adapter_in_peft_gives_our_logits(exported, targets, tmp_path):
    from peft import PeftModel

    config, base, folder = exported
    lora = LoRA(rank=3, alpha=5.0, targets=TARGETS[targets])
    tuned = write(tmp_path / "tuned.ckpt", config, lora)
    save(tuned, tmp_path / "adapter")
    model = PeftModel.from_pretrained(theirs(folder), str(tmp_path / "adapter"))
    with torch.no_grad():
        found = model(IDS).logits
    torch.testing.assert_close(found, logits(tuned), rtol=0, atol=1e-4)
    assert (found - logits(base)).abs().max() > 0.01


def test_pefts_adapter_beside_our_model_gives_their_logits(exported, tmp_path):
    from peft import LoraConfig, get_peft_model

    _, base, folder = exported
    modules = ["q_proj", "v_proj", "o_proj", "down_proj"]
    options = LoraConfig(r=4, lora_alpha=6, target_modules=modules, task_type="CAUSAL_LM")
    model = get_peft_model(theirs(folder), options)
    torch.manual_seed(1)
    for name, p in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, std=0.2)
    model.save_pretrained(tmp_path / "adapter")
    load(base, tmp_path / "adapter", tmp_path / "loaded.ckpt")
    with torch.no_grad():
        expected = model.eval()(IDS).logits
    torch.testing.assert_close(logits(tmp_path / "loaded.ckpt"), expected, rtol=0, atol=1e-4)
    assert (expected - logits(base)).abs().max() > 0.01


def change(folder: Path, **values) -> None:
    about = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(about | values))


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-40])


BAD = {
    "another method": (lambda f: change(f, peft_type="IA3"), "describes no LoRA adapter"),
    "what is not computed": (lambda f: change(f, use_dora=True), "use_dora is True"),
    "no rank": (lambda f: change(f, r=None), "no r or lora_alpha"),
    "no JSON": (lambda f: (f / CONFIG).write_text("{"), "is no JSON"),
    "damage": (cut, "is damaged"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "does not exist"),
    "another rank": (lambda f: change(f, r=7), "of shape"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_adapter_that_cannot_be_used_is_one_line_and_exit_code_2(kind, tmp_path, capsys):
    spoil, reason = BAD[kind]
    config = MODELS["qwen3"]
    save(write(tmp_path / "tuned.ckpt", config, LoRA(rank=3)), tmp_path / "adapter")
    base = write(tmp_path / "base.ckpt", config)
    spoil(tmp_path / "adapter")
    with pytest.raises(SystemExit) as stop:
        guard(lambda: load(base, tmp_path / "adapter", tmp_path / "loaded.ckpt"))
    assert stop.value.code == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert reason in error


def test_an_adapter_of_another_model_is_refused(tmp_path):
    save(write(tmp_path / "tuned.ckpt", MODELS["qwen3"], LoRA(rank=3)), tmp_path / "adapter")
    base = write(tmp_path / "base.ckpt", MODELS["unison"])
    with pytest.raises(ValueError, match=r"gate.*differently|of shape"):
        load(base, tmp_path / "adapter", tmp_path / "loaded.ckpt")


def test_a_gate_and_its_half_that_differ_do_not_fit_one_map(tmp_path):
    from safetensors.torch import load_file, save_file

    config = MODELS["unison"]
    save(write(tmp_path / "tuned.ckpt", config, LoRA(rank=3)), tmp_path / "adapter")
    held = load_file(tmp_path / "adapter" / WEIGHTS)
    name = next(name for name in held if "gate_proj" in name)
    held[name] = held[name] + 1
    save_file(held, tmp_path / "adapter" / WEIGHTS)
    base = write(tmp_path / "base.ckpt", config)
    with pytest.raises(ValueError, match="differently, which are one map"):
        load(base, tmp_path / "adapter", tmp_path / "loaded.ckpt")


def test_a_model_without_adapters_has_none_to_save(tmp_path):
    base = write(tmp_path / "base.ckpt", MODELS["unison"])
    with pytest.raises(ValueError, match="has no adapters"):
        save(base, tmp_path / "adapter")
