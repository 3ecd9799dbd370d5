"""Build the world, train everything, measure it, write the report.

    python -m multimodal.quickstart --out runs/quickstart

Each stage is one of the documented commands, run as a process of its own with one folder. A stage
already done is skipped, an interrupted one resumes; what everything waits for has all cores, other
stages run side by side, which small networks use better than more threads (measured in LOG.md).
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.cli import command
from core.devices import usable_cores
from core.energy import WATTS_PER_CPU
from core.errors import UserError
from core.files import new_file
from multimodal.progress import Display
from multimodal.stages import ROOT, Preset, Stage, stages


@dataclass
class Running:
    """A stage at work."""

    stage: Stage
    folder: Path
    process: subprocess.Popen
    started: float = field(default_factory=time.monotonic)


def quickstart(
    out: Path = Path("runs/quickstart"),
    preset: Preset = "cpu",
    smoke: bool = False,
    jobs: int | None = None,
    seed: int = 0,
    digits: Literal["sklearn", "mnist"] = "sklearn",
    speech: Literal["espeak", "fsdd"] = "espeak",
    fold: int = 0,
) -> None:
    """Run all stages that are not done yet, and write report.json and report.html.

    Args:
        out: Folder of the run.
        preset: Sizes for CPU cores or for one GPU.
        smoke: Two steps a stage on a tiny world: shows that everything runs, teaches nothing.
        jobs: Stages side by side; by default a core each up to two, or one on a GPU.
        seed: Of everything trained; world, readers and evaluation stay the same.
        digits: Handwriting of the world: scikit-learn's scans, or MNIST.
        speech: Voices of the world: espeak-ng, or recorded digits (FSDD), which tell no colour.
        fold: Of recorded digits: which speaker tests.
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    plan = stages(out, preset, smoke, seed, world_options(digits, speech, fold))
    jobs = jobs or (1 if preset == "gpu" else min(2, usable_cores()))
    if jobs < 1:
        raise UserError(f"jobs is {jobs} but at least 1 stage must run; leave it out")
    runner = Runner(out, plan, jobs)
    runner.run()
    finish(out, preset, runner.rows, time.monotonic() - started)


def world_options(digits: str, speech: str, fold: int) -> list[str]:
    """Return the options of a world that is not the embedded one."""
    asked = {"digits": (digits, "sklearn"), "speech": (speech, "espeak"), "fold": (fold, 0)}
    options = (
        (f"--{name}", str(value)) for name, (value, usual) in asked.items() if value != usual
    )
    return [word for option in options for word in option]


class Runner:
    """Runs stages as soon as what they need is done, up to `jobs` at a time."""

    def __init__(self, out: Path, plan: list[Stage], jobs: int):
        self.out, self.plan, self.jobs = out, plan, jobs
        self.keys: dict[str, str] = {}
        for stage in _in_order(plan):
            self.keys[stage.name] = stage.key(self.keys)
        self.rows: dict[str, dict[str, Any]] = {}
        self.running: list[Running] = []

    def run(self) -> None:
        """Run everything; on a failure or an interrupt the other stages are stopped."""
        for stage in self.plan:
            done = self._done(stage)
            if done and all(need in self.rows for need in stage.needs):
                self.rows[stage.name] = done | {"skipped": True}
        waiting = [stage for stage in self.plan if stage.name not in self.rows]
        with Display(self.plan, waiting, self.jobs) as display:
            try:
                while waiting or self.running:
                    self._start(waiting)
                    self._collect(display)
                    display.update(self.running, self.rows)
                    time.sleep(0.2)
            finally:
                for running in self.running:
                    running.process.terminate()
                for running in self.running:  # trainers save before they leave
                    running.process.wait()

    def _start(self, waiting: list[Stage]) -> None:
        for stage in list(waiting):
            if len(self.running) >= self.jobs or any(r.stage.alone for r in self.running):
                return
            if all(need in self.rows for need in stage.needs):
                if stage.alone and self.running:
                    return  # it comes first, and waits for the cores
                waiting.remove(stage)
                self.running.append(self._launch(stage))

    def _launch(self, stage: Stage) -> Running:
        folder, key = self.out / stage.name, self.keys[stage.name]
        begun = _read_json(folder / "begun.json").get("key") == key
        resume = begun and (folder / "last.ckpt").is_file()
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
        if stage.kind != "data":
            folder.mkdir(parents=True, exist_ok=True)
            _write_json(folder / "begun.json", {"key": key})
        if stage.name == "evaluate":
            write_stages(self.out, self.rows)
        threads = usable_cores() if stage.alone else max(1, usable_cores() // self.jobs)
        environment = stage_environment(threads)
        logs = self.out / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"{stage.name}.txt").open("ab" if resume else "wb") as log:
            process = subprocess.Popen(
                stage.launched(folder, resume), env=environment, stdout=log, stderr=log
            )
        return Running(stage, folder, process)

    def _collect(self, display: Display) -> None:
        for running in list(self.running):
            pid, status, usage = os.wait4(running.process.pid, os.WNOHANG)
            if not pid:
                continue
            self.running.remove(running)
            code = os.waitstatus_to_exitcode(status)
            running.process.returncode = code
            if code:
                self._fail(running, code)
            row = self._bill(running, usage)
            _write_json(running.folder / "done.json", {"key": self.keys[running.stage.name], **row})
            self.rows[running.stage.name] = row
            display.done(running.stage, row)

    def _bill(self, running: Running, usage: Any) -> dict[str, Any]:
        """Return what a stage cost; the process that waited for it knows best."""
        cpu = usage.ru_utime + usage.ru_stime
        cost = _read_json(running.folder / "cost.json")
        files = [f for f in running.folder.rglob("*") if f.is_file()]
        return {
            "name": running.stage.name,
            "kind": running.stage.kind,
            "seconds": round(time.monotonic() - running.started, 1),
            "ended": round(time.time(), 1),
            "cpu_seconds": round(cpu, 1),
            "peak_memory_mb": round(usage.ru_maxrss / 1024, 1),
            "joules": cost.get("joules", round(cpu * WATTS_PER_CPU, 1)),
            "energy_source": cost.get(
                "energy_source", f"CPU-seconds x {WATTS_PER_CPU:g} W (assumed)"
            ),
            "parameters": cost.get("parameters", 0),
            "disk_mb": round(sum(f.stat().st_size for f in files) / 2**20, 2),
            "skipped": False,
        }

    def _fail(self, running: Running, code: int) -> None:
        log = self.out / "logs" / f"{running.stage.name}.txt"
        lines = log.read_text(errors="replace").strip().splitlines() or ["(it wrote nothing)"]
        last = lines[-1].removeprefix("error: ")
        message = f"stage {running.stage.name} stopped with code {code}: {last}; see {log}"
        if code == 2:
            raise UserError(message)
        raise RuntimeError(message)

    def _done(self, stage: Stage) -> dict[str, Any]:
        """Return the row of a stage that was done with this key, or nothing."""
        row = _read_json(self.out / stage.name / "done.json")
        return row if row.get("key") == self.keys[stage.name] else {}


def stage_environment(threads: int) -> dict[str, str]:
    """Return the environment of a stage, which runs our own code: a checkout's, if it is one."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    checkout = [str(ROOT)] if (ROOT / "pyproject.toml").is_file() else []
    paths = os.pathsep.join(path for path in (*checkout, *named) if path)
    more = {"PYTHONPATH": paths} if paths else {}
    return os.environ | more | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}


def finish(out: Path, preset: Preset, rows: dict[str, dict[str, Any]], total: float) -> None:
    """Write the stages' costs into the report and render the page."""
    from multimodal.report import measured_beside, write_report

    write_stages(out, rows)
    report = _read_json(out / "evaluate" / "report.json")
    seconds = {name: row["seconds"] for name, row in rows.items()}
    report |= measured_beside(out)
    report["preset"] = preset
    report["seconds"] = seconds | {
        "train": round(training_seconds(rows.values()), 1),
        "total": round(total, 1),
    }
    _write_json(out / "report.json", report)
    write_report(out)
    print(f"report: {out / 'report.html'}")


def training_seconds(rows: Iterable[dict[str, Any]]) -> float:
    """Return the wall time in which at least one training stage ran."""
    training = [row for row in rows if row["kind"] == "train"]
    total, until = 0.0, 0.0
    for begin, end in sorted((row["ended"] - row["seconds"], row["ended"]) for row in training):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def write_stages(out: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Write stages.json: what each stage cost."""
    _write_json(out / "stages.json", list(rows.values()))


def _in_order(plan: list[Stage]) -> list[Stage]:
    """Return the stages so that each comes after those it needs."""
    ordered: list[Stage] = []
    while len(ordered) < len(plan):
        names = {stage.name for stage in ordered}
        ready = [s for s in plan if s.name not in names and names.issuperset(s.needs)]
        assert ready, "the stages need each other in a circle"
        ordered += ready
    return ordered


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _write_json(path: Path, value: Any) -> None:
    with new_file(path) as file:
        file.write_text(json.dumps(value, indent=1))


if __name__ == "__main__":
    sys.exit(command(quickstart))
