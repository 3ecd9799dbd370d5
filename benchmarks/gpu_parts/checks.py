"""What `benchmarks.gpu` checks and measures besides the presets: resume, tests, decoding."""

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoders.torch_models import our_model, our_tokens, prompts, their_model
from benchmarks.decoders.torch_models import their_tokens as write_theirs
from benchmarks.gpu_parts.presets import ROOT, Job, compiles, train_preset
from benchmarks.gpu_parts.process import Outcome, fresh, last_line
from benchmarks.turns import seconds

COMPARED = ("state_dict", "ema", "optimizer_states", "lr_schedulers", "global_step")
"""Parts of a checkpoint that must be equal bit for bit."""
NO_TESTS = 5
"""Exit code of pytest where nothing was selected."""


def resume(job: Job, limit: float) -> Outcome:
    """Train a preset in one go, and again with a kill and a resume; compare bit for bit.

    Args:
        job: Of the whole run; its folder is to be new.
        limit: Seconds for all three runs.
    """
    steps = job.steps
    options = (("--trainer.deterministic", "true"), ("--save_every", str(max(1, steps // 4))))
    options += (("--model.compile", "false"),) if compiles(job.preset) else ()
    whole = dataclasses.replace(job, out=job.out / "whole", seconds=limit, options=options,
                                count=False)  # fmt: skip
    broken = dataclasses.replace(whole, out=job.out / "broken", kill_at=steps // 2 + 1)
    last = ("--resume", str(broken.out / "last.ckpt"))
    resumed = dataclasses.replace(broken, kill_at=None, options=(*options, last))
    total = Outcome()
    for name, one in (("whole", whole), ("killed", broken), ("resumed", resumed)):
        log = job.out / f"{name}.log"
        found = fresh(train_preset, one, log=log, limit=limit - total.seconds)
        total.seconds = round(total.seconds + found.seconds, 2)
        if name == "killed" and found.exit_code == -signal.SIGKILL and found.seconds < limit:
            continue
        if found.failure is not None or name == "killed":
            total.failure = f"{name}: {found.failure or 'it was not killed'}"
            return total
    different = _different(whole.out / "last.ckpt", broken.out / "last.ckpt")
    total.numbers = {"steps": steps, "killed_after": steps // 2 + 1, "bitwise": not different}
    if different:
        total.failure = f"{len(different)} values differ, the first is {different[0]}"
    return total


def _different(one: Path, other: Path) -> list[str]:
    """Return the names of what differs in two checkpoints."""
    ours, theirs = (torch.load(path, map_location="cpu", weights_only=True) for path in
                    (one, other))  # fmt: skip
    return [name for part in COMPARED for name in unequal(ours[part], theirs[part], part)]


def unequal(one: Any, other: Any, name: str) -> list[str]:
    """Return the names of the leaves in which two nested values differ."""
    if type(one) is not type(other):
        return [name]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return [] if same and one.equal(other) else [name]
    if isinstance(one, Mapping):
        if one.keys() != other.keys():
            return [name]
        return [n for key in one for n in unequal(one[key], other[key], f"{name}.{key}")]
    if isinstance(one, Sequence) and not isinstance(one, str):
        if len(one) != len(other):
            return [name]
        pairs = enumerate(zip(one, other, strict=True))
        return [n for i, (a, b) in pairs for n in unequal(a, b, f"{name}.{i}")]
    return [] if one == other else [name]


def gpu_tests(log: Path, limit: float) -> Outcome:
    """Run the tests that need a GPU.

    Args:
        log: File for what pytest prints.
        limit: Seconds.
    """
    if not torch.cuda.is_available():
        return Outcome(failure="not run: no CUDA device")
    log.parent.mkdir(parents=True, exist_ok=True)
    visible = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0")}
    words = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(ROOT / "tests")]
    outcome = Outcome()

    def run() -> None:
        with log.open("w") as file:
            try:
                done = subprocess.run(
                    [sys.executable, *words], stdout=file, stderr=subprocess.STDOUT, cwd=ROOT,
                    env=os.environ | visible, timeout=limit, check=False,
                )  # fmt: skip
                outcome.exit_code = done.returncode
            except subprocess.TimeoutExpired:
                outcome.failure = f"ended after its limit of {limit:.0f} s"

    outcome.seconds = round(seconds(run), 2)
    if outcome.exit_code == NO_TESTS:
        outcome.failure = "no test is marked gpu"
    elif outcome.exit_code:
        outcome.failure = last_line(log)
    outcome.numbers = {"summary": last_line(log)}
    return outcome


def decode(size: str, batches: tuple[int, ...], tokens: int, repeats: int) -> dict[str, Any]:
    """Return tokens per second of greedy decoding in bfloat16, ours and of `transformers`.

    Args:
        size: One of `benchmarks.decoding`.
        batches: Texts side by side.
        tokens: Tokens to write after 16.
        repeats: Runs of each, after one that warms up; the median counts.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = our_model(size, 16 + tokens)
    known = importlib.util.find_spec("transformers") is not None
    theirs = their_model(net).to(device, torch.bfloat16) if known else None
    net = net.to(device, torch.bfloat16)
    found: dict[str, Any] = {} if known else {"transformers": "not installed"}
    for batch in batches:
        ids = prompts(batch, 16, net.config.vocabulary).to(device)
        runs = {"ours": lambda ids=ids: our_tokens(net, ids, tokens)}
        if theirs is not None:
            runs["transformers"] = lambda ids=ids: write_theirs(theirs, ids, tokens)
        for name, run in runs.items():
            # Tokens reach the CPU, so that all of the device's work is in the time.
            times = [seconds(lambda run=run: run().cpu()) for _ in range(repeats + 1)]
            middle = sorted(times[1:])[repeats // 2]
            found[f"{name}, batch {batch}"] = round(batch * tokens / middle, 1)
    return found
