"""The demo as a process of its own, with a socket to it that sends anything."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
PATIENCE = 30.0
"""Seconds after which a request counts as not answered."""


@dataclass(frozen=True)
class Answer:
    """What came back on a socket."""

    status: int
    """0 where the connection was closed without an answer, -1 where nothing came in time."""
    seconds: float
    body: bytes


@dataclass(frozen=True)
class Served:
    """A process that serves a run."""

    process: subprocess.Popen
    port: int
    folder: Path
    """Holds its folders tmp, home and cwd, and its log."""

    def send(self, data: bytes, patience: float = PATIENCE, last: bytes = b"") -> Answer:
        """Send bytes as they are, and read until the other side closes, at most so many seconds.

        What is read may also end with a line that holds `last`.
        """
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as wire:
            with suppress(OSError):  # it may answer and close before it has read everything
                wire.sendall(data)
            answer = _read(wire, begun + patience, last)
        seconds = time.monotonic() - begun
        status = (
            int(answer[9:12]) if answer[:7] == b"HTTP/1." else (-1 if seconds >= patience else 0)
        )
        return Answer(status, seconds, answer.partition(b"\r\n\r\n")[2])

    def memory(self) -> tuple[int, int]:
        """Return MB that the process holds and held at most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        sizes = dict(line.split(":", 1) for line in lines)
        held, most = (int(sizes[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM"))
        return held, most

    def readers(self) -> int:
        """Return MB that the processes hold that it has started, shared ones counted once each."""
        held = 0
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                held += child.memory_info().rss
        return held // 2**20

    def get(self, path: str) -> bytes:
        """Return what a good request gets."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=600) as answer:
            return answer.read()

    def uploads(self) -> list[Path]:
        """Return the files of uploads to the API that are still there."""
        names = ("unison-upload-*", "unison-reply-*")
        return [path for name in names for path in (self.folder / "tmp").glob(name)]

    def written_elsewhere(self) -> list[Path]:
        """Return files below its home and its working folder; there were none."""
        return [
            p for name in ("cwd", "home") for p in (self.folder / name).rglob("*") if p.is_file()
        ]


@contextmanager
def served_alone(run: Path, folder: Path, *options: str) -> Iterator[Served]:
    """Serve a run by `python -m multimodal.demo` with folders of its own for everything."""
    for name in ("tmp", "home", "cwd"):
        (folder / name).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "multimodal.demo", "--run", str(run), "--device", "cpu"]
    environment = os.environ | {
        "TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"), "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(folder / "tmp"),
    }  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), *options],
            cwd=folder / "cwd", env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    served = Served(process, port, folder)
    try:
        _wait(served)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def children(served: Served) -> int:
    """Return how many processes it has started that still live."""
    return len(psutil.Process(served.process.pid).children(recursive=True))


def _wait(served: Served) -> None:
    until = time.monotonic() + 600
    while time.monotonic() < until:
        assert served.process.poll() is None, (served.folder / "log").read_text()[-2000:]
        try:
            served.get("/healthz")
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


def _read(wire: socket.socket, until: float, last: bytes) -> bytes:
    parts: list[bytes] = []
    while (left := until - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            part = wire.recv(65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
        if last and last in b"".join(parts):
            break
    return b"".join(parts)
