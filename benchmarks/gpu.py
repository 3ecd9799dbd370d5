"""Everything that only a GPU can tell, in at most 12 minutes on one large GPU.

    python -m benchmarks.gpu --out runs/gpu                 # on a GPU
    python -m benchmarks.gpu --out runs/gpu --smoke true    # on a CPU: shows that it runs

Every `*_gpu` preset trains for a few hundred steps by its own command: samples and tokens per
second after the warm-up, model FLOPs utilisation (of the dense bfloat16 peak), peak memory, and
the loss at start and end. The 124 M language model is one of them. Then a run that is killed and
resumed with deterministic kernels is compared bit for bit with an uninterrupted one, a decoder is
timed, and the tests marked `gpu` run. The data is made here, of real sizes and no meaning. Each
part runs in a process of its own with a time limit; a part that fails is recorded, and the next
one begins. `results.json` and `results.md` are written after each part, logs stand beside them.

Needs the packages of `pip install -e ".[test]"` and nothing from the network.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parts.checks import decode, gpu_tests, resume
from benchmarks.gpu_parts.data import SMOKE, Sizes, make_data
from benchmarks.gpu_parts.presets import BASE, TUNED, Job, presets, train_preset
from benchmarks.gpu_parts.process import Outcome, fresh
from benchmarks.gpu_parts.report import markdown
from core.checkpoint import provenance
from core.cli import command
from core.errors import UserError
from core.files import new_file

RESUMED = ("text/shakespeare_char_gpu", "image/world_gpu")
"""Presets whose resume is checked."""
LEAST = 20.0
"""Seconds without which no part is begun."""


@dataclass(frozen=True)
class Part:
    """One thing to measure."""

    name: str
    run: Callable[[float], Outcome]
    """Takes its limit in seconds."""
    limit: float


@dataclass
class Session:
    """Where results go and how much time is left."""

    out: Path
    smoke: bool
    deadline: float
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def log(self, name: str) -> Path:
        """Return the log of a part."""
        return self.out / "logs" / f"{name.replace('/', '_').replace(' ', '_')}.log"

    def job(self, preset: str, **changes: Any) -> Job:
        """Return a training run of a preset, in the smoke form of few steps."""
        out = self.out / "runs" / preset.replace("/", "_")
        job = Job(preset, self.out / "data", out, smoke=self.smoke)
        if self.smoke:
            job = replace(job, steps=3, warmup=1)
        return replace(job, **changes)


def gpu(
    out: Path = Path("runs/gpu"),
    minutes: float = 12.0,
    smoke: bool = False,
    parts: list[str] | None = None,
) -> None:
    """Measure all parts, and write results.json and results.md.

    Args:
        out: Folder for results, logs, data and runs; it must be new.
        minutes: What is not begun in this time is not measured.
        smoke: Take tiny sizes and a few steps on a CPU; its figures mean nothing.
        parts: Parts by name, as they stand in the tables; all by default.
    """
    if not smoke and not torch.cuda.is_available():
        raise UserError("there is no CUDA device; --smoke true runs every part on a CPU")
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another --out or remove it")
    session = Session(out, smoke, time.monotonic() + 60 * minutes)
    known = _parts(session)
    chosen = [part.name for part in known] if parts is None else parts
    if unknown := [name for name in chosen if name not in [part.name for part in known]]:
        raise UserError(
            f"{unknown[0]!r} is no part; there are {', '.join(part.name for part in known)}"
        )
    about = _about(smoke)
    _measure("data", lambda limit: _make_data(session, limit), 180.0, session)
    for part in known:
        if part.name in chosen:
            _measure(part.name, part.run, part.limit, session)
        _write(session, about, known)
    print((out / "results.md").read_text())


def _parts(session: Session) -> list[Part]:
    """Return all parts, those that matter most first."""
    found = [
        Part(name, lambda limit, name=name: _train(session, name, limit), _limit(name))
        for name in presets()
    ]
    for name in RESUMED:
        job = session.job(name, out=session.out / "runs" / f"resume_{name.replace('/', '_')}",
                          steps=8 if session.smoke else 40)  # fmt: skip
        found.append(Part(f"resume {name}", lambda limit, job=job: resume(job, limit), 75.0))
    found.append(Part("decoding", lambda limit: _decode(session, limit), 75.0))
    found.append(Part("gpu tests", lambda limit: gpu_tests(session.log("tests"), limit), 120.0))
    return found


def _limit(preset: str) -> float:
    """Return the seconds of a preset's process: imports, compilation, and what is measured."""
    return 180.0 if preset == BASE else 100.0 if "shakespeare" in preset else 60.0


def _make_data(session: Session, limit: float) -> Outcome:
    sizes = SMOKE if session.smoke else Sizes()
    return fresh(make_data, session.out / "data", sizes, log=session.log("data"), limit=limit)


def _train(session: Session, preset: str, limit: float) -> Outcome:
    changes: dict[str, Any] = {}
    base = session.job(BASE).out / "last.ckpt"
    if preset == BASE and not session.smoke:
        changes = {"steps": 200, "seconds": 50.0, "warmup": 3}  # a step takes half a million tokens
    if preset == TUNED and base.exists():
        changes["options"] = (("--init", str(base)),)
    job = session.job(preset, **changes)
    return fresh(train_preset, job, log=session.log(preset), limit=limit)


def _decode(session: Session, limit: float) -> Outcome:
    small = ("0.8M", (1, 2), 8, 1)
    size, batches, tokens, repeats = small if session.smoke else ("124M", (1, 16, 64), 256, 3)
    return fresh(decode, size, batches, tokens, repeats, log=session.log("decoding"), limit=limit)


def _measure(name: str, run: Callable[[float], Outcome], limit: float, session: Session) -> None:
    """Run one part if there is time for it."""
    left = session.deadline - time.monotonic()
    if left < LEAST:
        outcome = Outcome(failure="not begun: the time was over")
    else:
        outcome = run(limit if session.smoke else min(limit, left))
    session.results[name] = asdict(outcome)
    said = outcome.failure or "done"
    print(f"{name}: {said} ({outcome.seconds:.0f} s)", flush=True)


def _about(smoke: bool) -> dict[str, Any]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "device": device,
        "torch": torch.__version__,
        "commit": provenance()["commit"],
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "smoke": smoke,
    }


def _write(session: Session, about: dict[str, Any], known: list[Part]) -> None:
    found = {"about": about, "parts": session.results}
    with new_file(session.out / "results.json") as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n")
    with new_file(session.out / "results.md") as partial:
        partial.write_text(markdown(about, session.results, [part.name for part in known]))


if __name__ == "__main__":
    command(gpu)
