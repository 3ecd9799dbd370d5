"""Claims about requests that nobody means well: refused soon, in bounded memory, and no trace."""

import json
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.multimodal.demo.bombs import FIXTURES
from tests.multimodal.demo.browser import ARTEFACTS
from tests.multimodal.demo.malformed import malformed
from tests.multimodal.demo.raw_requests import Bad, request, upload
from tests.multimodal.demo.wire import Answer, Served, children, served_alone
from tests.tiny_run import write_run

SOON = 30.0 if "CI" in os.environ else 20.0
"""Seconds for any answer, on two busy cores: 8 to read a file, as much to wait for a reader."""
GROWTH, READERS = 300, 4500
"""MB by which the server may grow at its peak, and that its readers may hold together."""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("runs") / "tiny")
    with served_alone(run, tmp_path_factory.mktemp("served")) as served:
        for modality, name in (
            ("image", "seven.png"),
            ("audio", "seven.wav"),
            ("video", "two.mp4"),
        ):
            good = upload(modality, (FIXTURES / name).read_bytes(), name)
            assert served.send(good, 60).status == 200
        yield served


def send_all(served: Served, requests: list[Bad]) -> list[Answer]:
    """Send all, the slow ones at the same time as the others, and never more than six of these."""
    with ThreadPoolExecutor(6) as few, ThreadPoolExecutor(64) as many:
        sent = [(many if bad.slow else few).submit(served.send, bad.data) for bad in requests]
        return [one.result() for one in sent]


@contextmanager
def watched(served: Served):
    """Note ten times a second what the readers hold."""
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            peak.append(served.readers())

    thread = threading.Thread(target=look)
    thread.start()
    yield peak
    over.set()
    thread.join()


def told(requests: list[Bad], answers: list[Answer], served: Served, before: int) -> str:
    """Return counts by kind and status, the slowest and the memory, as Markdown."""
    counts = Counter(
        (bad.kind, answer.status) for bad, answer in zip(requests, answers, strict=True)
    )
    statuses = sorted({status for _, status in counts})
    lines = [
        "| kind | " + " | ".join(map(str, statuses)) + " |",
        "|---" * (len(statuses) + 1) + "|",
    ]
    for kind in sorted({bad.kind for bad in requests}):
        row = [str(counts[kind, status] or "") for status in statuses]
        lines.append(f"| {kind} | " + " | ".join(row) + " |")
    late = max(zip(answers, requests, strict=True), key=lambda pair: pair[0].seconds)
    held, most = served.memory()
    return "\n".join([
        *lines, "", f"slowest: {late[0].seconds:.1f} s, {late[1].kind} ({late[0].status})",
        f"memory: {before} MB before, {held} MB after, {most} MB at most",
    ])  # fmt: skip


def check(served: Served, count: int, slow: int, seed: int, patience: float) -> None:
    """Send so many and check the claim; what came of it is written to the artefacts."""
    requests = malformed(count, slow, seed)
    before = served.memory()[0]
    with watched(served) as peak:
        answers = send_all(served, requests)
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    report = told(requests, answers, served, before) + f"; readers together {max(peak)} MB"
    (ARTEFACTS / f"malformed-{count}.md").write_text(report + "\n")
    wrong = [
        f"{answer.status} in {answer.seconds:.1f} s: {bad.kind} {bad.data[:160]!r} "
        f"-> {answer.body[:300]!r}"
        for bad, answer in zip(requests, answers, strict=True)
        if not allowed(bad, answer) or answer.seconds > patience
    ]
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40]) + "\n" + report
    assert not [answer for answer in answers if b"root:" in answer.body]
    assert served.memory()[1] - before < GROWTH, report
    assert max(peak) < READERS, report
    assert_well(served)


def allowed(bad: Bad, answer: Answer) -> bool:
    """Tell whether an answer is one that such a request may get."""
    return 400 <= answer.status < 500 or (not bad.surely and 200 <= answer.status < 400)


def assert_well(served: Served) -> None:
    assert json.loads(served.get("/healthz"))["status"] == "ok"
    image = (FIXTURES / "seven.png").read_bytes()
    assert served.send(upload("image", image, "seven.png")).status == 200
    assert served.written_elsewhere() == []
    assert served.uploads() == []
    assert children(served) <= 5


def test_a_sample_of_malformed_requests_is_refused(served):
    check(served, 60, 0, 1, SOON)


@pytest.mark.slow
def test_a_thousand_malformed_requests_are_refused(served):
    check(served, 1000, 24, 0, SOON)


def calls(served: Served, function: int, data: list, session: str) -> str:
    """Call a function of the page as the page does, and return all that is said of it."""
    body = {"data": data, "fn_index": function, "session_hash": session, "trigger_id": 1}
    content = json.dumps(body).encode()
    path = "/gradio_api/queue/join"
    joined = served.send(request(content, "application/json", path))
    if joined.status == 422:
        return joined.body.decode()
    assert joined.status == 200, joined
    path = f"/gradio_api/queue/data?session_hash={session}"
    heard = served.send(request(b"", None, path, "GET"), last=b"close_stream")
    assert heard.status == 200
    return heard.body.decode()


def file_data(path: str, **more: str) -> dict:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


@pytest.fixture(scope="module")
def functions(served):
    """Return the page's functions that wait in its queue, by name."""
    config = json.loads(served.get("/config"))
    return {one["api_name"]: one["id"] for one in config["dependencies"] if one.get("queue")}


@pytest.mark.parametrize(
    "file",
    [
        file_data("/etc/passwd"),
        file_data("/etc/passwd", url="data:text/plain;base64,cm9vdDo="),
        file_data("../../../../../etc/passwd"),
        file_data("file:///etc/passwd"),
        file_data("/proc/self/environ", orig_name="x.png"),
        file_data("http://127.0.0.1:9/x.png", url="http://127.0.0.1:9/x.png"),
        file_data("http://169.254.169.254/latest/meta-data"),
        file_data("/dev/zero", orig_name="x.svg"),
        "/etc/passwd",
        {"path": "/etc/passwd"},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_the_page_takes_no_path_of_this_machine(served, functions, file, place):
    data = [None, None, None, None, "", ["text"], 1, 0, 2, 0, False]
    data[place] = file
    heard = calls(served, functions["make"], data, f"session{place}{abs(hash(str(file)))}")
    assert "root:" not in heard
    assert "made in" not in heard
    if place == 1:
        heard = calls(served, functions["know"], ["", file], f"know{abs(hash(str(file)))}")
        assert "output" not in heard or '"success":false' in heard.replace(" ", "")
    assert not list((served.folder / "tmp" / "gradio").rglob("passwd"))


def test_a_caption_typed_on_the_page_is_never_a_file(served, functions):
    secret = served.folder / "secret.txt"
    secret.write_text("a" * 3000)
    heard = calls(served, functions["know"], [str(secret), None], "caption")
    assert "3000" not in heard
