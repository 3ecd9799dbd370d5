"""Who does the work on many sources: this process, a pool of processes, or a Ray cluster.

All give the same results in the same order, and hold only some of them at a time. A worker that is
killed loses nothing: its work is done again. A source that kills its workers is named.
"""

import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch

from core.errors import UserError

EngineName = Literal["local", "ray"]
CHUNK = 16
"""Sources of a task for the pool."""
AHEAD = 3
"""Tasks a worker that are under way or done and not yet asked for."""
TRIES = 3
"""Workers that a source may take with it before it is given up."""
Source = TypeVar("Source")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Local:
    """Processes of this machine."""

    workers: int = 1
    """Processes; one works in the calling process."""

    def __post_init__(self):
        _check_workers(self.workers)


@dataclass(frozen=True)
class Ray:
    """A Ray cluster: one that runs, or one on this machine for as long as the work takes."""

    address: str | None = None
    """Where it runs: host:port, ray://host:port or auto; None starts one here."""
    workers: int | None = None
    """Tasks at a time; as many as it has cores by default."""

    def __post_init__(self):
        if self.workers is not None:
            _check_workers(self.workers)


Engine = Local | Ray


def engine_named(name: EngineName, workers: int | None, address: str | None) -> Engine:
    """Return the engine that the options `--engine`, `--workers` and `--address` ask for."""
    if name == "ray":
        return Ray(address, workers)
    if address is not None:
        raise UserError(f"address {address} names a Ray cluster; add --engine ray")
    return Local() if workers is None else Local(workers)


def map_in_order(
    engine: Engine, function: Callable[[Source], Result], sources: Iterable[Source]
) -> Iterator[Result]:
    """Yield what a function makes of each source, in the order of the sources.

    Workers run with one thread each, so that results do not depend on who does the work.

    Args:
        function: At the top level of a module (or a partial of such); an error of its own is
            raised here, after the results before it.
    """
    results: Generator[Any, None, None]
    match engine:
        case Local(workers=1):
            results = (_with_one_thread(function, source) for source in sources)
        case Local():
            results = _pooled(engine.workers, function, iter(sources))
        case Ray():
            from core.ray_engine import map_on_ray

            results = map_on_ray(engine, Task(function), iter(sources))
    with closing(results):  # or workers would live as long as an error's traceback
        for result in results:
            if isinstance(result, Failed):
                raise result.error
            yield result


@dataclass(frozen=True)
class Failed:
    """In place of a result: the error that a source met, of a kind that any process can read."""

    error: Exception
    """What was raised; of a defect with the worker's traceback as a note."""


@dataclass(frozen=True)
class Task(Generic[Source, Result]):
    """A function of one source as one of several."""

    function: Callable[[Source], Result]
    """What is to be done."""

    def __call__(self, chunk: Sequence[Source]) -> list[Result | Failed]:
        """Do it for several sources."""
        return [_attempt(self.function, source) for source in chunk]


def killer(source: object) -> UserError:
    """Return the error that names a source whose workers died."""
    return UserError(
        f"{source} ended {TRIES} workers (a crash in a decoder, or too little memory); move it "
        "away, or give the workers more memory, and build again"
    )


def chunks(sources: Iterator[Source], size: int) -> Iterator[tuple[Source, ...]]:
    """Yield the sources, several at a time."""
    while chunk := tuple(itertools.islice(sources, size)):
        yield chunk


def _attempt(function: Callable[[Source], Result], source: Source) -> Result | Failed:
    try:
        return _with_one_thread(function, source)
    except Exception as error:
        return Failed(_portable(error))


def _with_one_thread(function: Callable[[Source], Result], source: Source) -> Result:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order may round otherwise
    try:
        return function(source)
    finally:
        torch.set_num_threads(threads)


def _portable(error: Exception) -> Exception:
    """Return an error that another process can rebuild and that keeps what the first one knew."""
    if isinstance(error, UserError):
        return UserError(str(error))
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, error.filename)
    try:
        copy = pickle.loads(pickle.dumps(error))
        copy = copy if type(copy) is type(error) else None
    except Exception:  # an error whose constructor wants more than its message
        copy = None
    copy = copy or RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note(f"in a worker:\n{''.join(traceback.format_exception(error))}")
    return copy


def _pooled(
    workers: int, function: Callable[[Source], Result], sources: Iterator[Source]
) -> Generator[Result | Failed, None, None]:
    """Keep a queue of tasks under way; after a death, go through all that it took alone."""
    pool, task = _Pool(workers), Task(function)
    queue: deque[tuple[tuple[Source, ...], Future]] = deque()
    try:
        for chunk in chunks(sources, CHUNK):
            queue.append((chunk, pool.submit(task, chunk)))
            while len(queue) >= AHEAD * workers:
                yield from _next(pool, task, queue)
        while queue:
            yield from _next(pool, task, queue)
    finally:
        pool.stop()


def _next(pool: "_Pool", task: Task, queue: deque[tuple[tuple, Future]]) -> Iterator:
    """Yield the results of the first task of the queue, or of all if workers died."""
    try:
        results = queue[0][1].result()
    except BrokenProcessPool:
        pool.start()
        while queue:
            yield from _again(pool, task, *queue.popleft())
    else:
        queue.popleft()
        yield from results


def _again(pool: "_Pool", task: Task, chunk: tuple, future: Future) -> Iterator:
    """Yield a task's results; if they were lost, do it source by source with nothing beside it."""
    try:
        results = future.result()
    except BrokenProcessPool:
        results = (result for source in chunk for result in _alone(pool, task, source))
    yield from results


def _alone(pool: "_Pool", task: Task, source: object) -> list:
    for _ in range(TRIES):
        try:
            return pool.submit(task, (source,)).result()
        except BrokenProcessPool:
            pool.start()
    raise killer(source)


class _Pool:
    """Processes that can be started anew."""

    def __init__(self, workers: int):
        self.workers = workers
        self.executor: ProcessPoolExecutor | None = None
        self.start()

    def start(self) -> None:
        """Start processes in place of those that there were."""
        self.stop()
        # Not forks of this process, which may have threads: a fork copies the locks they hold. They
        # are forks of a server that has only imported what they need; that takes seconds, once.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, *_program()])
        self.executor = ProcessPoolExecutor(self.workers, context, initializer=_follow_parent)

    def submit(self, task: Task, chunk: tuple) -> Future:
        """Return what will be a task's results, or the error that workers died."""
        assert self.executor is not None
        try:
            return self.executor.submit(task, chunk)
        except BrokenProcessPool as error:
            lost: Future = Future()
            lost.set_exception(error)
            return lost

    def stop(self) -> None:
        """End the processes once they are done with what they do."""
        if self.executor is not None:
            self.executor.shutdown(cancel_futures=True)
            self.executor = None


def _program() -> list[str]:
    """Return the module that runs as a command, if one does."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [] if spec is None or spec.name.endswith("__main__") else [spec.name]


def _follow_parent() -> None:
    """Leave it to the parent to be interrupted, and end with it when it is killed.

    A worker without a parent would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check_workers(workers: int) -> None:
    if workers < 1:
        raise UserError(f"workers is {workers} but must be at least 1; leave it out or name more")
