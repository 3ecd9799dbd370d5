"""Many who ask, one that computes: a bounded queue whose requests share the models' batches.

A request passes through steps: its inputs are embedded and the prior completes them, then each
modality is generated. One thread takes the earliest step for which anybody waits, for all who want
it in the same way. So those who come later catch up, and then all go on together.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from core.errors import UserError
from multimodal.towers import MODALITIES
from multimodal.unison import BATCH, Unison, batch_of_one, options_for
from multimodal.wish import Wish

LOGGER = logging.getLogger("unison.demo")
Fault = Literal["invalid", "late", "cancelled", "broken"]
"""What ended a request: its own content, its time, who asked, or a defect of ours."""
EMBED = "embed"
STEPS = (EMBED, *MODALITIES)
T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """What happens to a request now."""

    step: str
    """`queue`, `embed`, or the modality that is generated."""
    done: int
    """Steps that are behind it."""
    total: int
    """Steps in all."""


@dataclass(frozen=True)
class Made:
    """One modality of a request is there."""

    modality: str
    signals: Any
    """Texts, or a batch of signals: one a sample."""


@dataclass(frozen=True)
class Failed:
    """A request ended without all that it asked for."""

    message: str
    fault: Fault


@dataclass(frozen=True)
class Finished:
    """All was made."""

    seconds: float
    """From the request to here, waiting included."""


Event = Progress | Made | Failed | Finished


class QueueFull(Exception):
    """As many requests wait as may."""


@dataclass(frozen=True)
class Limits:
    """What the service takes on."""

    waiting: int = 32
    """Requests at a time, those at work among them; more are refused."""
    seconds: float = 60.0
    """Time for a request, waiting included."""
    count: int = 16
    """Samples a request."""
    steps: int = 100
    """Solver steps."""
    batch: int = BATCH
    """Samples of all requests that a model makes at a time; 1 is one request at a time."""

    def __post_init__(self):
        for name in ("waiting", "seconds", "count", "steps", "batch"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} is {getattr(self, name)} but must be above 0")


class Request:
    """A wish on its way: iterate over it for what happens to it."""

    def __init__(self, wish: Wish, options: Mapping[str, Any], deadline: float):
        self.wish, self.options, self.deadline = wish, options, deadline
        self.begun = time.monotonic()
        self.todo = [EMBED, *(name for name in MODALITIES if name in wish.to)]
        self.total = len(self.todo)
        self.embeddings: dict[str, Float[Tensor, "B E"]] = {}
        self.made: dict[str, Any] = {}
        self.cancelled = threading.Event()
        self._events: SimpleQueue[Event] = SimpleQueue()

    def __iter__(self) -> Iterator[Event]:
        """Yield what happens until it is over; who stops listening cancels."""
        try:
            while True:
                event = self._next()
                yield event
                if isinstance(event, Failed | Finished):
                    return
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Let no further step be done."""
        self.cancelled.set()

    def tell(self, event: Event) -> None:
        """Pass on what happened."""
        self._events.put(event)

    @property
    def way(self) -> tuple[Any, ...]:
        """What must be equal in requests whose next step is done together."""
        step, wish = self.todo[0], self.wish
        if step == EMBED:
            return step, frozenset(wish.given)
        return step, self.options[step], step == "video" and wish.first_frame

    @property
    def progress(self) -> Progress:
        """Where it stands."""
        return Progress(self.todo[0], self.total - len(self.todo), self.total)

    def _next(self) -> Event:
        try:  # a step that has begun is waited for, but not for ever
            return self._events.get(timeout=max(0.0, self.deadline - time.monotonic()) + 10)
        except Empty:
            return Failed("no answer in time; try again, or ask for fewer samples", "late")


@dataclass
class Call:
    """Something else that the computing thread is to do."""

    function: Callable[[Unison], Any]
    result: Future = field(default_factory=Future)


@runtime_checkable
class Watch(Protocol):
    """Who keeps count of what the service does."""

    def batch(self, step: str, rows: int, seconds: float) -> None:
        """Note a step of so many samples."""
        ...

    def inputs(self, embedded: Mapping[str, Float[Tensor, "B E"]]) -> None:
        """Note the embeddings of what was given."""
        ...


class Service:
    """The models of a run, used by many at once.

    Args:
        unison: The models; nobody else may use them meanwhile.
        limits: What is taken on.
        watch: Who keeps count, if anybody does.
    """

    def __init__(self, unison: Unison, limits: Limits = Limits(), watch: Watch | None = None):
        self.unison, self.limits, self.watch = unison, limits, watch
        self._requests: list[Request] = []
        self._calls: list[Call] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="unison", daemon=True)
        self._thread.start()

    def submit(self, wish: Wish) -> Request:
        """Take on a wish whose signals are read already.

        Raises:
            ValueError: if it asks for what no request may ask for.
            QueueFull: if too many wait.
        """
        self._check(wish)
        options = {name: options_for(name, wish.guidance, wish.steps) for name in wish.to}
        request = Request(wish, options, time.monotonic() + self.limits.seconds)
        with self._changed:
            if len(self._requests) >= self.limits.waiting:
                raise QueueFull(f"{self.limits.waiting} requests wait already; try again soon")
            self._requests.append(request)
            request.tell(Progress("queue", 0, request.total))
            self._changed.notify()
        return request

    def call(self, function: Callable[[Unison], T]) -> T:
        """Return what a function of the models returns, computed in turn with the requests."""
        call = Call(function)
        with self._changed:
            self._calls.append(call)
            self._changed.notify()
        return call.result.result()

    @property
    def waiting(self) -> int:
        """Requests that are not over."""
        return len(self._requests)

    @property
    def alive(self) -> bool:
        """Whether the computing thread is there."""
        return self._thread.is_alive()

    @property
    def rate(self) -> int | None:
        """Hz of the sounds that are made; None where the run makes none."""
        there = (self.unison.run / "audio" / "last.ckpt").is_file()
        return self.unison.rate if there else None

    def close(self) -> None:
        """End the thread after the step that it does; what waits is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for request in list(self._requests):
            self._end(request, Failed("the service ends; ask again when it is back", "cancelled"))

    def _check(self, wish: Wish) -> None:
        for name in ("count", "steps"):
            value, most = getattr(wish, name), getattr(self.limits, name)
            if value is not None and value > most:
                raise UserError(f"{name} is {value} but {most} is the most here; lower it")
        self.unison.check_there(wish.given, wish.to)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._requests or self._calls)
                if self._closed:
                    return
                call = self._calls.pop(0) if self._calls else None
                group = [] if call else self._group()
            if call is not None:
                _answer(call, self.unison)
            elif group:
                self._step(group)

    def _group(self) -> list[Request]:
        """Return those whose step is done next, and end those that are over."""
        for request in list(self._requests):
            if request.cancelled.is_set():
                self._end(request, Failed("cancelled", "cancelled"))
            elif time.monotonic() > request.deadline:
                late = f"not done in {self.limits.seconds:g} s; ask for less, or try again later"
                self._end(request, Failed(late, "late"))
        if not self._requests:
            return []
        first = min(self._requests, key=lambda request: STEPS.index(request.todo[0]))
        alike = [request for request in self._requests if request.way == first.way]
        rows = itertools.accumulate(request.wish.count for request in alike)
        fits = [r for r, total in zip(alike, rows, strict=True) if total <= self.limits.batch]
        return fits or alike[:1]

    def _step(self, group: list[Request]) -> None:
        """Do one step of some requests, alike in `way`."""
        step, started = group[0].todo[0], time.monotonic()
        for request in group:
            request.tell(request.progress)
        try:
            with torch.inference_mode():
                (self._embed if step == EMBED else self._generate)(group)
        except Exception as error:
            self._fail(group, error)
            return
        rows = sum(request.wish.count for request in group)
        if self.watch is not None:
            self.watch.batch(step, rows, time.monotonic() - started)
        for request in group:
            request.todo.pop(0)
            if step != EMBED:
                request.tell(Made(step, request.made[step]))
            if not request.todo:
                self._end(request, Finished(time.monotonic() - request.begun))

    def _fail(self, group: list[Request], error: Exception) -> None:
        """Do the step for each alone, as one may have spoilt it for all; a lone one has failed."""
        if len(group) > 1:
            for request in group:
                self._step([request])
            return
        fault: Fault = "invalid" if isinstance(error, ValueError) else "broken"
        if fault == "broken":
            LOGGER.error("a request failed", exc_info=error)
        message = str(error) if fault == "invalid" else "this failed here; the log says why"
        self._end(group[0], Failed(message, fault))

    def _embed(self, group: list[Request]) -> None:
        """Embed what is given, and complete it."""
        batches = {
            name: _stack([batch_of_one(request.wish.given[name]) for request in group])
            for name in group[0].wish.given
        }
        embedded = self.unison.embed(batches)
        if self.watch is not None:
            self.watch.inputs(embedded)
        counts = [request.wish.count for request in group]
        rows = {name: _each(x, counts) for name, x in embedded.items()}
        seeds = [seed for request in group for seed in request.wish.seeds]
        completed = self.unison.complete(rows, seeds=seeds)
        self.unison.check_seen({*group[0].wish.given, *group[0].wish.to}, completed)
        for request, part in _parts(group):
            request.embeddings = {name: x[part] for name, x in completed.items()}

    def _generate(self, group: list[Request]) -> None:
        """Generate one modality of each."""
        modality = group[0].todo[0]
        seeds = [seed for request in group for seed in request.wish.seeds]
        rows = torch.cat([request.embeddings[modality] for request in group])
        frames = {}
        if modality == "video" and group[0].wish.first_frame:
            frames = {
                "first_frame": self.unison.as_frame(torch.cat([_first_frames(r) for r in group]))
            }
        options = group[0].options[modality]
        made = self.unison.decode(modality, rows, options, seeds=seeds, **frames)
        for request, part in _parts(group):
            request.made[modality] = made[part]

    def _end(self, request: Request, event: Failed | Finished) -> None:
        with self._changed:
            if request in self._requests:
                self._requests.remove(request)
        request.tell(event)


def _answer(call: Call, unison: Unison) -> None:
    try:
        call.result.set_result(call.function(unison))
    except BaseException as error:
        call.result.set_exception(error)


def _parts(group: list[Request]) -> Iterator[tuple[Request, slice]]:
    """Yield each request and its rows in the batch of all."""
    start = 0
    for request in group:
        yield request, slice(start, start + request.wish.count)
        start += request.wish.count


def _each(rows: Float[Tensor, "B E"], counts: list[int]) -> Float[Tensor, "B2 E"]:
    """Repeat each row as many times as its request wants samples."""
    return torch.repeat_interleave(rows, torch.tensor(counts).to(rows.device), dim=0)


def _stack(batches: list[Any]) -> Any:
    tensors = isinstance(batches[0], Tensor)
    return torch.cat(batches) if tensors else [text for batch in batches for text in batch]


def _first_frames(request: Request) -> Float[Tensor, "B 3 H W"]:
    """Return the given picture for each sample, or else the generated ones."""
    given = request.wish.given.get("image")
    if given is None:
        return request.made["image"]
    return repeat(given.float(), "C H W -> B C H W", B=request.wish.count)
