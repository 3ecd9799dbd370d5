"""Language models of others as checkpoints of ours, and the other way round, bit for bit.

    python -m text.convert --from hf --source gpt2 --out gpt2.ckpt
    python -m text.convert --to hf --checkpoint runs/text/last.ckpt --out my_model

Others are folders in Hugging Face's layout of GPT-2, Llama and Qwen3, dense ones. Nothing in them
is run, and pickles are not read.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from core.checkpoint import AtomicCheckpointIO
from core.cli import command, guard
from core.errors import UserError
from text.hf_read import read_hf
from text.hf_write import write_hf
from text.tokenizer_files import STATE


def from_hf(source: Path, out: Path) -> None:
    """Write a checkpoint of ours from a folder of a GPT-2, Llama or Qwen3.

    Args:
        source: Folder with config.json, model.safetensors (or several and their index),
            tokenizer.json and tokenizer_config.json.
        out: File to write; every command that takes a text model's checkpoint takes it.
    """
    checkpoint = read_hf(source)
    AtomicCheckpointIO().save_checkpoint(checkpoint, out)
    held = checkpoint["state_dict"].items()
    count = sum(weight.numel() for name, weight in held if name != STATE)
    print(f"{out}: {checkpoint['unison']['origin']}; {count:,} weights")


def to_hf(checkpoint: Path, out: Path, raw: bool = False) -> None:
    """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` of transformers load.

    Args:
        checkpoint: A text model's last.ckpt, or what `--from hf` wrote.
        out: Folder to write; it must not exist.
        raw: The weights that training goes on with instead of their average.
    """
    write_hf(checkpoint, out, raw=raw)


def verb(argv: Sequence[str]) -> list[str]:
    """Let `--from hf` and `--to hf` name what is to be done."""
    words = [part for word in argv for part in _parts(word)]
    for i, option in enumerate(words[:-1]):
        if option in ("--from", "--to") and words[i + 1] == "hf":
            return [f"{option[2:]}_hf", *words[:i], *words[i + 2 :]]
    if words and words[0] in ("--help", "from_hf", "to_hf"):
        return words
    raise UserError("say --from hf to read a model of others, or --to hf to write one for them")


def _parts(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith(("--from=", "--to=")) else [word]


if __name__ == "__main__":
    command({"from_hf": from_hf, "to_hf": to_hf}, guard(lambda: verb(sys.argv[1:])))
