"""Work done by a Ray cluster through Ray Data, in order; `core.engine` says what is promised.

The nodes must see the sources and this program under the same paths as the machine that asks.
"""

import itertools
import logging
import os
import pickle
import socket
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from core.engine import TRIES, Failed, Ray, Task, chunks, killer
from core.errors import UserError

BLOCK = 64
"""Sources of a task: Ray needs some milliseconds for each."""
WAVE = 4096
"""Tasks of one data set of Ray's, which holds all its sources."""
SUSPECTS = 16
"""Tasks that are done source by source after Ray gave one up: it does not say which."""
STORE = 256 << 20
"""Bytes of shared memory for what is under way, on a cluster that is started here."""
PATIENCE = 10.0
"""Seconds in which a cluster must answer."""


def map_on_ray(engine: Ray, task: Task, sources: Iterator) -> Generator[Any | Failed, None, None]:
    """Yield the results of a task on all sources, in their order."""
    rows = (pickle.dumps(chunk) for chunk in chunks(sources, BLOCK))
    with _connected(engine):
        while wave := list(itertools.islice(rows, WAVE)):
            for results in _wave(wave, task, engine.workers):
                yield from pickle.loads(results)


def _wave(rows: Sequence[bytes], task: Task, workers: int | None) -> Iterator[bytes]:
    """Yield the results of each row; where Ray gave up, go on source by source for a while."""
    from ray.exceptions import RayError, RayTaskError

    done = 0
    while done < len(rows):
        try:
            for results in _mapped(rows[done:], task, workers):
                yield results
                done += 1
        except RayError as error:
            if isinstance(error, RayTaskError):  # a defect of ours
                raise
            for row in rows[done : done + SUSPECTS]:
                yield _alone(row, task)
                done += 1


def _mapped(rows: Sequence[bytes], task: Task, workers: int | None) -> Iterator[bytes]:
    """Yield the results of each row by Ray Data, which does lost tasks again."""
    import ray.data

    items = [{"sources": row} for row in rows]
    dataset = ray.data.from_items(items, override_num_blocks=len(rows))
    dataset.context.enable_progress_bars = False
    dataset.context.execution_options.preserve_order = True
    options: dict[str, Any] = {"batch_size": None, "batch_format": "numpy", "concurrency": workers}
    run: Any = _run  # Ray Data's types know nothing of fn_args
    with warnings.catch_warnings(action="ignore"):  # that it is to be renamed
        # Ray Data's own default is to try for ever.
        mapped = dataset.map_batches(
            run, fn_args=[task], **options, ray_remote_args_fn=lambda: {"max_retries": TRIES - 1}
        )
    for row in mapped.iter_rows():
        yield row["results"]


def _run(batch: Any, task: Task) -> dict[str, list[bytes]]:
    return {"results": [pickle.dumps(task(pickle.loads(row))) for row in batch["sources"]]}


def _run_one(source: Any, task: Task) -> list:
    return task((source,))


def _alone(row: bytes, task: Task) -> bytes:
    """Return a row's results, of one task a source; name the source that ends its workers."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    remote, results = ray.remote(max_retries=TRIES - 1)(_run_one), []
    for source in pickle.loads(row):
        try:
            results += ray.get(remote.remote(source, task))
        except RayError as error:
            if isinstance(error, RayTaskError):
                raise
            raise killer(source) from error
    return pickle.dumps(results)


@contextmanager
def _connected(engine: Ray) -> Iterator[None]:
    """Connect to a cluster, or start one here; one that the process has already is taken."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray.data
    except ImportError as error:
        raise UserError(
            f"engine ray needs what is not installed ({error}); install it with: pip install"
            " 'ray[data]>=2.50,<2.64', or leave out --engine"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is told by us
    if ray.is_initialized():
        yield
        return
    _start(ray, engine)
    try:
        yield
    finally:
        ray.shutdown()


def _start(ray: Any, engine: Ray) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    if engine.address is None:
        cores = engine.workers or len(os.sched_getaffinity(0))
        ray.init(
            "local", num_cpus=cores, object_store_memory=STORE, include_dashboard=False, **quiet
        )
        return
    _check_answers(engine.address)
    try:
        ray.init(engine.address, **quiet)
    except (ConnectionError, ValueError) as error:
        raise _no_cluster(engine.address, error) from error


def _check_answers(address: str) -> None:
    """Raise unless something listens: Ray itself waits for minutes."""
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or error
    return UserError(
        f"no Ray cluster answers at {address} ({reason}); start one with: ray start --head, or"
        " leave out --address"
    )
