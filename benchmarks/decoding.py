"""Tokens per second beside `transformers` and llama.cpp: same weights, type and threads.

    python -m benchmarks.decoding --sizes 0.8M 10M --batches 1 16 --out docs/decoding.json
    python -m benchmarks.decoding --sizes 124M --llama-cpp ~/llama/bin/python

All write 256 greedy tokens after a prompt of 16, each system in a process of its own for every
size, batch and type, in turns with the others, and only after their logits were found to agree.
`transformers` is its generate() as it comes and with a compiled forward pass and a static cache;
ratios are over the faster of the two. Ours are a step in PyTorch and the one in C++. Rows of eight
bits (ours int8, llama.cpp's Q8_0) stand with the first type. Needs `pip install -e ".[test]"`, and
for llama.cpp an environment of its own: `pip install llama-cpp-python gguf`.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoders.llama import SYSTEMS as LLAMA_SYSTEMS
from benchmarks.decoders.torch_models import (
    AGREE,
    SHAPES,
    check_agreement,
    logits_apart,
    models,
    prompts,
    refuse_apart,
)
from benchmarks.decoders.torch_worker import SYSTEMS as TORCH_SYSTEMS
from benchmarks.turns import Contender, Result, module, take_turns
from core.cli import command, plain_options
from core.errors import UserError
from core.files import new_file

COLUMNS = (
    "parameters", "batch", "type", "threads", "system", "tokens/s", "least", "most",
    "over transformers", "over llama.cpp",
)  # fmt: skip
EIGHT_BITS = {"ours, int8": "llama.cpp, Q8_0", "llama.cpp, Q8_0": "llama.cpp, Q8_0"}
"""System of eight bits -> the one of llama.cpp to compare it with."""
LLAMA_AGREES = 0.03
"""As AGREE: llama.cpp keeps keys and values in sixteen bits, and sums in another order."""
LISTS = ("--sizes", "--batches", "--dtypes", "--threads")
NOT_INSTALLED = "not installed (--llama-cpp PYTHON names an environment with llama-cpp-python)"


@dataclass(frozen=True)
class Case:
    """What all systems do alike."""

    size: str
    batch: int
    dtype: str
    threads: int
    prompt: int = 16
    tokens: int = 256
    eight_bits: bool = True

    def __post_init__(self):
        if self.size not in SHAPES:
            raise UserError(f"size {self.size!r} is not one of {', '.join(SHAPES)}")
        if self.dtype not in AGREE:
            raise UserError(f"dtype {self.dtype!r} is not one of {', '.join(AGREE)}")
        for name in ("batch", "threads", "prompt", "tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)} but must be at least 1")


def decoding(
    sizes: tuple[str, ...] = tuple(SHAPES),
    batches: tuple[int, ...] = (1, 16),
    dtypes: tuple[str, ...] = ("float32", "bfloat16"),
    threads: tuple[int, ...] = (1,),
    tokens: int = 256,
    prompt: int = 16,
    repeats: int = 5,
    compiled: bool = True,
    systems: tuple[str, ...] | None = None,
    llama_cpp: Path | None = None,
    out: Path | None = None,
) -> None:
    """Time every combination and print a table.

    Args:
        sizes: Of 0.8M, 10M and 124M parameters.
        batches: Texts side by side.
        dtypes: Types of weights and activations.
        threads: Threads of each system.
        tokens: Tokens to write.
        prompt: Tokens of the prompt.
        repeats: Turns; the table has median, least and most.
        compiled: Compile the forward pass of transformers too, which takes half a minute a row.
        systems: Names of the rows to measure; all by default.
        llama_cpp: Python of an environment with llama-cpp-python and gguf.
        out: A .json file to add the rows to.
    """
    cases = [
        Case(size, batch, dtype, count, prompt, tokens, eight_bits=dtype == dtypes[0])
        for size in sizes for dtype in dtypes for batch in batches for count in threads
    ]  # fmt: skip
    known = (*TORCH_SYSTEMS, *LLAMA_SYSTEMS)
    wanted = [name for name in known if compiled or "compiled" not in name]
    if systems is not None:
        if unknown := [name for name in systems if name not in known]:
            raise UserError(f"system {unknown[0]!r} is not one of {'; '.join(known)}")
        wanted = list(systems)
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            contenders = _prepare(case, Path(folder), llama_cpp, wanted)
            results = take_turns(contenders, repeats)
            _check_llama(case, results, Path(folder))
        if llama_cpp is None and "llama.cpp" in wanted:
            results["llama.cpp"] = Result(note=NOT_INSTALLED)
        _report(case, results, out)


def _prepare(
    case: Case, folder: Path, llama_cpp: Path | None, wanted: Sequence[str]
) -> list[Contender]:
    """Check that both models are the same function, and return who takes part."""
    net, theirs = models(case.size, case.prompt + case.tokens, getattr(torch, case.dtype))
    check_agreement(net, theirs, AGREE[case.dtype])
    words = (f"--threads={case.threads}", f"--tokens={case.tokens}")
    contenders = []
    for system in TORCH_SYSTEMS:
        if system in wanted and (case.eight_bits or "int8" not in system):
            own = (f"--system={system}", f"--size={case.size}", f"--dtype={case.dtype}",
                   f"--batch={case.batch}", f"--prompt={case.prompt}")  # fmt: skip
            line = module("benchmarks.decoders.torch_worker", *own, *words)
            contenders.append(Contender(system, line, case.threads))
    if llama_cpp is not None:
        ids = prompts(case.batch, case.prompt, net.config.vocabulary)
        (folder / "prompts.json").write_text(json.dumps(ids.tolist()))
        theirs.float().save_pretrained(folder / "hf")
        for system, kinds in LLAMA_SYSTEMS.items():
            if system in wanted and (case.eight_bits or system not in EIGHT_BITS):
                own = (f"--folder={folder}", f"--kind={kinds[case.dtype]}")
                line = module("benchmarks.decoders.llama", *own, *words, python=llama_cpp)
                contenders.append(Contender(system, line, case.threads))
    return contenders


def _check_llama(case: Case, results: dict[str, Result], folder: Path) -> None:
    """Raise unless the logits of llama.cpp that are not quantised equal ours."""
    facts = results["llama.cpp"].facts if "llama.cpp" in results else {}
    if "logits" in facts:
        net, _ = models(case.size, case.prompt + case.tokens, torch.float32)
        ids = torch.tensor(json.loads((folder / "prompts.json").read_text()))
        with torch.inference_mode():
            ours = net(ids[:1])[0, -1]
        least = LLAMA_AGREES if case.dtype == "float32" else AGREE[case.dtype]
        refuse_apart(logits_apart(ours, torch.tensor(facts["logits"])), least)


def _report(case: Case, results: dict[str, Result], out: Path | None) -> None:
    """Print one row per system, and add them to a file."""
    theirs = [r.median for name, r in results.items() if name.startswith("transformers")]
    best = max((median for median in theirs if median is not None), default=None)
    known = json.loads(out.read_text()) if out is not None and out.exists() else []
    for name, result in results.items():
        rival = results.get(EIGHT_BITS.get(name, "llama.cpp"))
        start = (case.size, case.batch, case.dtype, case.threads, name)
        print(_row(start, result, [best, rival and rival.median]), flush=True)
        known.append(asdict(case) | {"system": name, **_numbers(result)})
    if out is not None:
        with new_file(out) as partial:
            partial.write_text(json.dumps(known, indent=1) + "\n")


def _numbers(result: Result) -> dict[str, Any]:
    if result.median is None:
        return {"note": result.note}
    found = {"median": result.median, "least": min(result.values), "most": max(result.values)}
    return found | ({"note": result.note} if result.note else {})


def _row(start: Iterable[object], result: Result, rivals: Sequence[float | None]) -> str:
    if result.median is None:
        cells = [result.note or "not measured", "", "", "", ""]
    else:
        rates = (result.median, min(result.values), max(result.values))
        cells = [f"{rate:.1f}" for rate in rates]
        cells += ["" if rival is None else f"{result.median / rival:.2f}" for rival in rivals]
    return f"| {' | '.join([*map(str, start), *cells])} |"


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    words = ["--llama_cpp" + w[11:] if w.startswith("--llama-cpp") else w for w in sys.argv[1:]]
    command(decoding, plain_options(words, lists=LISTS))
