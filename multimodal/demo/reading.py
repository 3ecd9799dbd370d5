"""Files of strangers are read by other processes: slow, greedy or deadly ones end only those.

A decoder can be made to take hours, gigabytes or the whole process with it by a file of some
kilobytes (scans without number, empty frames, wrong sizes), and nothing stops a thread that is
inside one.
"""

import functools
import logging
import multiprocessing
import pickle
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any

from core.errors import UserError
from multimodal.demo.service import QueueFull

LOGGER = logging.getLogger("unison.demo")
READERS = 2
"""Files that are read at a time."""
SECONDS = 8.0
"""Time that reading a file may take."""
START = 120.0
"""Time that a reader may take to begin: it imports PyTorch."""
WAIT = 10.0
"""Time that a file waits for a reader."""
MEMORY = 3 * 2**29
"""Bytes that a reader may take beyond what it begins with, where the system can bound that."""
KINDS, SHEET = ["PNG", "JPEG", "WEBP", "GIF"], 25_000_000
"""Pictures that are opened in the service's own process, and half of their most pixels."""
PRELOADED = ["multimodal.demo.uploads", "av", "soundfile", "scipy.ndimage", "torchaudio.functional"]


class Reader:
    """A process that runs one function after the other; it is replaced when it was ended."""

    def __init__(self):
        self._process: Any = None
        self._wire: Any = None

    def run(self, function: Callable[..., Any], *args: Any, seconds: float = SECONDS) -> Any:
        """Return what a function returns there, or raise its ValueError.

        Raises:
            ValueError: also if it takes too long, too much memory, or ends the process.
        """
        self._begin()
        try:
            self._wire.send((function, args))
            if not self._wire.poll(seconds):
                self.end()
                raise UserError(
                    f"it takes longer than {seconds:g} s to read; send a shorter or smaller one"
                )
            kind, value = pickle.loads(self._wire.recv_bytes())
        except (EOFError, OSError):
            self.end()
            raise UserError("it cannot be read: its decoder failed; save it again") from None
        if kind == "made":
            return value
        if kind == "defect":
            LOGGER.error("reading a file failed: %s", value)
            value = "it is damaged in a way that its decoder does not know; save it again"
        raise UserError(value)

    def end(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._wire.close()
            self._process = None

    def _begin(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        self.end()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._wire, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(theirs,), name="unison-reader", daemon=True
        )
        self._process.start()
        theirs.close()
        if not self._wire.poll(START):
            self.end()
            raise OSError("no process to read files can be started; see the log")
        with suppress(EOFError):
            self._wire.recv()


class Pool:
    """A few readers, which files share."""

    def __init__(self, count: int = READERS):
        self._idle: SimpleQueue[Reader] = SimpleQueue()
        self._all = [Reader() for _ in range(count)]
        for reader in self._all:
            self._idle.put(reader)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function returns in the first reader that is free.

        Raises:
            QueueFull: if none is in time.
        """
        try:
            reader = self._idle.get(timeout=WAIT)
        except Empty:
            raise QueueFull("too many files wait to be read; try again soon") from None
        try:
            return reader.run(function, *args)
        finally:
            self._idle.put(reader)

    def warm_up(self) -> None:
        """Begin in the background what the first file would wait for."""
        threading.Thread(target=self.run, args=(time.monotonic,), daemon=True).start()


@functools.cache
def pool() -> Pool:
    """Return the readers of this process."""
    return Pool()


def work(wire: Connection) -> None:
    """Run functions until the other side hangs up."""
    import torch

    torch.set_num_threads(1)
    bound_memory()
    warnings.simplefilter("ignore")
    with suppress(EOFError, KeyboardInterrupt):
        wire.send(("begun", None))
        while True:
            function, args = wire.recv()
            # plain: multiprocessing would share a tensor's memory with a process that may be killed
            wire.send_bytes(pickle.dumps(_outcome(function, args)))


def bound_memory(most: int = MEMORY) -> None:
    """Let this process take so many bytes more, where the system knows such a bound."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        import psutil

        held = psutil.Process().memory_info()
        limit = getattr(held, "data", held.rss) + most
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def narrow_pillow() -> None:
    """Let Pillow open in this process what the page's drawing sheet sends, and nothing larger.

    Gradio decodes it before we see it, by whatever decoder its first bytes name.
    """
    from PIL import Image

    Image.init()
    for name in set(Image.OPEN) - set(KINDS):
        del Image.OPEN[name]
    Image.ID[:] = KINDS
    Image.MAX_IMAGE_PIXELS = SHEET


def _outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "made", function(*args)
    except ValueError as error:
        return "wrong", str(error)
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):  # PyTorch's own
            return "wrong", "it takes too much memory to read; send a smaller one"
        return "defect", f"{type(error).__name__}: {error}"
