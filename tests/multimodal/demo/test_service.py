"""Claims about the queue: nobody is lost, nobody gets another's result, batches change nothing."""

import threading
import time

import pytest
import torch

from core.sampling import FlowOptions
from image.files import read_image
from multimodal.demo.service import (
    Failed,
    Finished,
    Limits,
    Made,
    Progress,
    QueueFull,
    Service,
)
from multimodal.towers import MODALITIES
from multimodal.unison import Unison
from multimodal.wish import Wish
from tests.tiny_run import write_models

FIXTURES = "tests/fixtures"


@pytest.fixture(scope="module")
def unison(tmp_path_factory):
    return Unison(write_models(tmp_path_factory.mktemp("runs") / "tiny"), "cpu")


class Notes:
    """Keeps what the service tells."""

    def __init__(self):
        self.batches, self.seen = [], []

    def batch(self, step, rows, seconds):
        self.batches.append((step, rows))

    def inputs(self, embedded):
        self.seen.append({name: len(rows) for name, rows in embedded.items()})


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def service(unison, notes):
    service = Service(unison, Limits(waiting=8, count=4), notes)
    yield service
    service.close()


def held(service):
    """Keep the computing thread busy until the event that is returned is set."""
    begun, go = threading.Event(), threading.Event()
    threading.Thread(target=service.call, args=(lambda _: begun.set() or go.wait(600),)).start()
    assert begun.wait(600)
    return go


def outcome(request):
    events = list(request)
    return {e.modality: e.signals for e in events if isinstance(e, Made)}, events[-1]


def picture():
    return read_image(f"{FIXTURES}/seven.png")


def test_a_request_alone_gets_exactly_what_the_library_gives(service, unison):
    wishes = [
        Wish({"image": picture()}, ("text", "audio"), 2, 5),
        Wish({}, MODALITIES, seed=3),
        Wish({"text": "a red seven"}, ("image", "video"), guidance=3.0, steps=3, first_frame=True),
    ]
    for wish in wishes:
        made, last = outcome(service.submit(wish))
        assert isinstance(last, Finished)
        settings = {name: getattr(wish, name) for name in
                    ("count", "seed", "guidance", "steps", "first_frame")}  # fmt: skip
        expected = unison.generate(**wish.given, to=wish.to, **settings)
        assert made.keys() == expected.keys()
        assert made.get("text") == expected.get("text")
        for name in made.keys() - {"text"}:
            assert torch.equal(made[name], expected[name])


def test_those_who_wait_together_share_batches_and_get_their_own(service, notes):
    wishes = [Wish({"text": word}, ("text", "image"), 1 + n % 2, 10 * n)
              for n, word in enumerate(["a red seven", "two", "something blue"])]  # fmt: skip
    alone = [outcome(service.submit(wish))[0] for wish in wishes]
    notes.batches.clear()
    go = held(service)
    requests = [service.submit(wish) for wish in wishes]
    go.set()
    together = [outcome(request)[0] for request in requests]
    assert notes.batches == [("embed", 4), ("text", 4), ("image", 4)]
    for mine, shared in zip(alone, together, strict=True):
        assert mine["text"] == shared["text"]
        torch.testing.assert_close(mine["image"], shared["image"], atol=1e-4, rtol=0)


def test_what_differs_in_options_or_inputs_is_not_batched(service, notes):
    go = held(service)
    wishes = [Wish({"text": "two"}, ("image",)), Wish({"text": "two"}, ("image",), steps=3),
              Wish({"image": picture()}, ("image",))]  # fmt: skip
    requests = [service.submit(wish) for wish in wishes]
    go.set()
    for request in requests:
        assert isinstance(outcome(request)[1], Finished)
    assert sorted(notes.batches) == [
        ("embed", 1), ("embed", 2), ("image", 1), ("image", 2)]  # fmt: skip
    assert requests[1].options["image"] == FlowOptions(steps=3)


def test_a_batch_has_as_many_samples_as_are_allowed(unison, notes):
    service = Service(unison, Limits(batch=3, count=4), notes)
    go = held(service)
    requests = [service.submit(Wish({}, ("text",), count)) for count in (2, 1, 1, 4)]
    go.set()
    assert all(isinstance(outcome(request)[1], Finished) for request in requests)
    service.close()
    assert [rows for step, rows in notes.batches if step == "text"] == [3, 1, 4]


def test_progress_comes_at_once_and_says_what_is_behind(service):
    go = held(service)
    events = iter(service.submit(Wish({}, ("text", "image"))))
    assert next(events) == Progress("queue", 0, 3)
    go.set()
    told = [event for event in events if isinstance(event, Progress)]
    assert told == [Progress("embed", 0, 3), Progress("text", 1, 3), Progress("image", 2, 3)]


def test_more_than_may_wait_are_refused_and_room_comes_back(service):
    go = held(service)
    requests = [service.submit(Wish({}, ("text",))) for _ in range(8)]
    with pytest.raises(QueueFull, match="8 requests wait"):
        service.submit(Wish({}, ("text",)))
    go.set()
    assert all(isinstance(outcome(request)[1], Finished) for request in requests)
    assert service.waiting == 0
    assert isinstance(outcome(service.submit(Wish({}, ("text",))))[1], Finished)


def test_who_stops_listening_is_not_worked_for(service, notes):
    go = held(service)
    events = iter(service.submit(Wish({}, ("video",))))
    next(events)
    events.close()
    other = service.submit(Wish({}, ("text",)))
    go.set()
    assert isinstance(outcome(other)[1], Finished)
    assert notes.batches == [("embed", 1), ("text", 1)]
    assert service.waiting == 0


def test_a_request_that_is_late_ends_with_a_line(unison):
    service = Service(unison, Limits(seconds=0.05))
    go = held(service)
    request = service.submit(Wish({}, ("text",)))
    time.sleep(0.1)
    go.set()
    assert outcome(request)[1] == Failed("not done in 0.05 s; ask for less, or try again later",
                                         "late")  # fmt: skip
    service.close()


def test_a_signal_that_spoils_a_batch_fails_alone(service, caplog):
    go = held(service)
    wishes = [{"image": picture()}, {"image": torch.zeros(1, 32, 32)}, {"image": picture()}]
    requests = [service.submit(Wish(given, ("text",))) for given in wishes]
    go.set()
    ends = [outcome(request)[1] for request in requests]
    assert [type(end) for end in ends] == [Finished, Failed, Finished]
    assert ends[1].fault == "broken"
    assert "a request failed" in caplog.text
    assert service.alive


def test_too_much_is_refused_before_it_waits(service):
    with pytest.raises(ValueError, match="count is 5 but 4 is the most here"):
        service.submit(Wish({}, ("text",), 5))
    with pytest.raises(ValueError, match="steps is 101 but 100 is the most"):
        service.submit(Wish({}, ("image",), steps=101))
    assert service.waiting == 0


def test_other_work_is_done_in_turn_and_its_errors_come_back(service):
    assert service.call(lambda unison: unison.stage("prior")) is service.unison.stage("prior")
    with pytest.raises(KeyError):
        service.call(lambda unison: {}["nothing"])
    assert service.alive


def test_closing_ends_those_who_wait(unison):
    service = Service(unison)
    go = held(service)
    request = service.submit(Wish({}, ("text",)))
    threading.Timer(0.2, go.set).start()
    service.close()
    assert outcome(request)[1].fault == "cancelled"
    assert not service.alive
