"""Adapters apart from their model: saved in PEFT's layout, put beside a model, or merged into it.

python -m text.lora save --checkpoint runs/tuned/last.ckpt --out adapter
python -m text.lora load --checkpoint runs/text/last.ckpt --adapter adapter --out adapted.ckpt
python -m text.lora merge --checkpoint runs/text/last.ckpt --adapter adapter --out merged.ckpt
"""

from pathlib import Path

from core.checkpoint import AtomicCheckpointIO, describe, load_module, read_checkpoint
from core.cli import command
from core.errors import UserError
from text.low_rank import LoRA, adapt, merge
from text.module import TextModule
from text.peft_files import read_adapter, write_adapter


def save(checkpoint: Path, out: Path) -> None:
    """Write the adapters of a model that was tuned by them.

    Args:
        checkpoint: A last.ckpt of `python -m text.tune --model.lora.rank ...`.
        out: Folder to write: adapter_config.json and adapter_model.safetensors.
    """
    module = load_module(checkpoint, TextModule)
    lora = _lora(module, checkpoint)
    weights = {n: w for n, w in module.net.state_dict().items() if ".adapters." in n}
    write_adapter(out, lora, module.net.config, weights, checkpoint.parent.name)
    print(f"{out}: {sum(w.numel() for w in weights.values()):,} weights of rank {lora.rank}")


def load(checkpoint: Path, adapter: Path, out: Path) -> None:
    """Write a checkpoint of a model with adapters, to use or to train on.

    Args:
        checkpoint: The model that they were trained on.
        adapter: Folder with the adapters.
        out: File to write.
    """
    _write(_adapted(checkpoint, adapter), checkpoint, out)


def join(checkpoint: Path, out: Path, adapter: Path | None = None) -> None:
    """Write a checkpoint of a plain model that computes what model and adapters do.

    Args:
        checkpoint: The model that the adapters were trained on; or one that has them, without
            --adapter.
        out: File to write.
        adapter: Folder with the adapters.
    """
    module = load_module(checkpoint, TextModule) if adapter is None else None
    if module is None:
        assert adapter is not None
        module = _adapted(checkpoint, adapter)
    _lora(module, checkpoint)
    merge(module.net)
    module.hparams["lora"] = None
    _write(module, checkpoint, out)


def _adapted(checkpoint: Path, adapter: Path) -> TextModule:
    """Return a model with adapters from a folder."""
    module = load_module(checkpoint, TextModule)
    if module.hparams.get("lora") is not None:
        raise UserError(f"{checkpoint} has adapters of its own; merge them first")
    lora, weights = read_adapter(adapter, module.net.config)
    adapt(module.net, lora)
    own = module.net.state_dict()
    for name, weight in weights.items():
        if own[name].shape != weight.shape:
            raise UserError(
                f"{adapter} has {name} of shape {list(weight.shape)} but the model's is "
                f"{list(own[name].shape)}; give the model that it was trained on"
            )
    module.net.load_state_dict(weights, strict=False)
    module.hparams["lora"] = lora
    return module


def _lora(module: TextModule, checkpoint: Path) -> LoRA:
    lora = module.hparams.get("lora")
    if lora is None:
        raise UserError(f"{checkpoint} has no adapters; tune with --model.lora.rank 8, say")
    return lora


def _write(module: TextModule, of: Path, out: Path) -> None:
    """Write a module as a checkpoint with the origin of the one that it comes from."""
    held = read_checkpoint(of, "text")
    origin = {key: value for key, value in held["unison"].items() if key != "init"}
    checkpoint = {
        "state_dict": module.state_dict(),
        "unison": describe(module) | origin,
        "global_step": held.get("global_step", 0),
    }
    AtomicCheckpointIO().save_checkpoint(checkpoint, out)
    print(f"{out}: {sum(p.numel() for p in module.parameters()):,} weights")


if __name__ == "__main__":
    command({"save": save, "load": load, "merge": join})
