"""What serving a run costs: how soon answers come, and how many come at a time.

    python -m benchmarks.serving --run runs/quickstart --minutes 10 --plot docs/serving.svg

A drawing is sent to a fresh server, one request after another: seconds to the first line of
progress, to image, sound and caption, and to the clip. Then clients ask without a pause, in turns
of one server that lets requests share batches and one that makes one request at a time; last, the
first server alone, for its failures and its memory.
"""

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from core.cli import command
from core.files import existing_file, new_file

MB = 2**20
FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
DRAWING = FIXTURES / "three.png"
ASKED: tuple[dict[str, Any], ...] = (
    {"image": "three.png", "to": "text,audio"},
    {"text": "a red seven", "to": "image,audio"},
    {"audio": "seven.wav", "to": "image,text"},
    {"image": "seven.png", "to": "video"},
)
"""What clients ask for, in turn."""
INK, LINE, ACCENT, WARM = "#1c1b19", "#dedad0", "#1f6f6b", "#b4532a"


@dataclass
class Load:
    """What many clients got in some time."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start, and resident bytes of the server."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds


def serving(
    run: Path = Path("runs/quickstart"),
    repeats: int = 20,
    clients: int = 8,
    turns: int = 3,
    turn_seconds: float = 60.0,
    minutes: float = 10.0,
    plot: Path | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Print tables of latency, throughput and memory.

    Args:
        run: Folder of the models that are served.
        repeats: Drawings whose answers are timed one by one.
        clients: Clients at a time.
        turns: Turns of each server, with and without shared batches.
        turn_seconds: Length of a turn.
        minutes: Length of the last load.
        plot: SVG file of memory over time to write.
        out: JSON file to write with all figures.
    """
    existing_file(run / "prior" / "last.ckpt")
    with server(run, 32) as (address, shared), server(run, 1) as (single_address, _):
        timed = {name: latency(address, to, repeats) for name, to in TIMED.items()}
        _print_latencies(timed, repeats)
        loads: dict[str, list[Load]] = {"shared batches": [], "one at a time": []}
        for _ in range(turns):
            loads["shared batches"].append(load(address, clients, turn_seconds))
            loads["one at a time"].append(load(single_address, clients, turn_seconds))
        ratio = _print_loads(loads)
        long = load(address, clients, 60 * minutes, shared)
    flat = _print_memory(long, minutes)
    if plot is not None and long.memory:
        draw(long, plot)
    found = {"latency": timed, "ratio": ratio, "requests": len(long.latencies),
             "failures": long.failures, "memory": flat}  # fmt: skip
    if out is not None:
        with new_file(out) as file:
            file.write_text(json.dumps(found, indent=1))
    return found


TIMED = {"image, sound and caption": "image,audio,text", "clip": "video"}


@contextmanager
def server(run: Path, batch: int) -> Iterator[tuple[str, psutil.Process]]:
    """Serve a run without its page, and yield the address and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--run", str(run), "--port", str(port), "--batch", str(batch), "--page", "false"]
    process = subprocess.Popen([sys.executable, "-m", "multimodal.demo", *words])
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def latency(address: str, to: str, repeats: int) -> dict[str, float]:
    """Return the median seconds to the first line and to the end, and the slowest of each."""
    firsts, ends = [], []
    drawing = DRAWING.read_bytes()
    with httpx.Client(timeout=120) as client:
        for seed in range(repeats + 1):
            started, first, last = time.perf_counter(), 0.0, {}
            form = {"to": to, "seed": seed, "format": "stream"}
            files = {"image": ("drawing.png", drawing)}
            url = f"{address}/generate"
            with client.stream("POST", url, data=form, files=files) as answer:
                for line in answer.iter_lines():
                    first = first or time.perf_counter() - started
                    last = json.loads(line)
            assert last.get("event") == "finished", last
            firsts.append(first)
            ends.append(time.perf_counter() - started)
    firsts, ends = firsts[1:], ends[1:]  # what is used for the first time is read from disk
    return {"first": median(firsts), "slowest first": max(firsts),
            "end": median(ends), "slowest end": max(ends)}  # fmt: skip


def load(address: str, clients: int, seconds: float, process: psutil.Process | None = None) -> Load:
    """Let clients ask one request after another for some time."""
    found, stop = Load(), time.monotonic() + seconds
    numbers = itertools.count()

    def ask() -> None:
        with httpx.Client(timeout=120) as client:
            while time.monotonic() < stop:
                number = next(numbers)
                started = time.monotonic()
                try:
                    answer = client.post(f"{address}/generate", **_form(number))
                except httpx.HTTPError as error:
                    found.failures.append(repr(error))
                    continue
                if answer.status_code == 200:
                    found.latencies.append(time.monotonic() - started)
                else:
                    found.failures.append(answer.text)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    while process is not None and time.monotonic() < stop:
        found.memory.append((time.monotonic() - started, process.memory_info().rss))
        time.sleep(min(5.0, seconds / 20))
    for thread in threads:
        thread.join()
    found.seconds = time.monotonic() - started
    return found


def draw(load: Load, path: Path) -> None:
    """Draw the server's memory over the minutes of a load."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3), layout="constrained")
    minutes, memory = zip(*((s / 60, m / MB) for s, m in load.memory), strict=True)
    axes.plot(minutes, memory, color=ACCENT)
    axes.set(xlabel="minutes", ylabel="resident memory, MiB", ylim=(0, 1.15 * max(memory)))
    axes.set_title(f"{len(load.latencies):,} requests, {len(load.failures)} failures", fontsize=10)
    axes.grid(color=LINE, linewidth=0.6)
    with new_file(path) as partial:
        figure.savefig(partial, format="svg")
    plt.close(figure)


def _form(number: int) -> dict[str, Any]:
    """Return the form of a request."""
    asked = ASKED[number % len(ASKED)]
    files = {name: (value, (FIXTURES / value).read_bytes())
             for name, value in asked.items() if name in ("image", "audio")}  # fmt: skip
    data = {name: value for name, value in asked.items() if name not in files}
    return {"data": data | {"seed": number}, "files": files or None}


def _wait(address: str, process: subprocess.Popen) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}")
        try:
            httpx.get(f"{address}/healthz").raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError("the server did not start in two minutes")


def _print_latencies(timed: dict[str, dict[str, float]], repeats: int) -> None:
    print(f"A drawing, median of {repeats} (slowest), seconds:\n")
    print("| to | first line | all there |\n| --- | --- | --- |")
    for name, row in timed.items():
        first = f"{row['first']:.3f} ({row['slowest first']:.3f})"
        print(f"| {name} | {first} | {row['end']:.2f} ({row['slowest end']:.2f}) |")


def _print_loads(loads: dict[str, list[Load]]) -> float:
    """Print throughput, and return the median ratio of the turns."""
    print("\n| server | requests a second, by turn | median latency, s | failures |")
    print("| --- | --- | --- | --- |")
    for name, turns in loads.items():
        rates = ", ".join(f"{turn.rate:.2f}" for turn in turns)
        waited = median([x for turn in turns for x in turn.latencies])
        print(f"| {name} | {rates} | {waited:.2f} | {sum(len(t.failures) for t in turns)} |")
    both = zip(loads["shared batches"], loads["one at a time"], strict=True)
    ratio = median([shared.rate / single.rate for shared, single in both])
    print(f"\nShared batches over one at a time: {ratio:.2f}")
    return ratio


def _print_memory(load: Load, minutes: float) -> dict[str, float]:
    """Print requests, failures and memory, and return the memory at three times, in MiB."""
    memory = [rss / MB for _, rss in load.memory]
    fifth = max(1, len(memory) // 5)
    told = {
        "after a fifth": median(memory[fifth : 2 * fifth] or memory),
        "at the end": median(memory[-fifth:]),
        "most": max(memory),
    }
    shown = ", ".join(f"{name} {value:.0f} MiB" for name, value in told.items())
    print(f"\n{minutes:g} minutes: {len(load.latencies):,} requests, {len(load.failures)} failures,"
          f" median {median(load.latencies):.2f} s; memory {shown}")  # fmt: skip
    for failure in load.failures[:5]:
        print(failure)
    return told


if __name__ == "__main__":
    command(serving)
