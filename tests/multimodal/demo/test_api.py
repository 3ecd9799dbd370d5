"""Claims about the HTTP API: what comes back, and what is turned away."""

import asyncio
import base64
import io
import json
import shlex
import threading
import warnings
import zipfile
from pathlib import Path

import pytest
import soundfile
from PIL import Image
from starlette.testclient import TestClient

from core.cli import command, plain_options
from multimodal.demo.__main__ import serve
from multimodal.demo.app import build_app
from multimodal.demo.doors import BodyGuard, Keys
from multimodal.demo.service import Limits
from multimodal.generate import FLAGS, generate
from multimodal.wish import Wish
from tests.multimodal.demo.browser import service_of
from tests.tiny_run import write_models

FIXTURES = Path("tests/fixtures").absolute()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def client(run):
    with build_app(run, Limits(waiting=4), max_upload_mb=1, device="cpu", page=False) as app:
        yield TestClient(app, raise_server_exceptions=False)


def post(client, files=None, **form):
    opened = {name: (f, (FIXTURES / f).read_bytes()) for name, f in (files or {}).items()}
    return client.post("/generate", data=form, files=opened or None)


def refused(response, status=422):
    assert response.status_code == status, response.text
    detail = response.json()["detail"]
    assert "\n" not in detail
    return detail


def test_all_four_come_back_as_files_that_open(client):
    answer = post(client, {"image": "seven.png"}, to="text,image,audio,video", count=2).json()
    assert [sample["seed"] for sample in answer["samples"]] == [0, 1]
    for sample in answer["samples"]:
        assert isinstance(sample["text"], str)
        data = {m: base64.b64decode(sample[m]["data"]) for m in ("image", "audio", "video")}
        assert Image.open(io.BytesIO(data["image"])).size == (256, 256)
        assert soundfile.info(io.BytesIO(data["audio"])).samplerate == 8000
        assert data["video"][4:8] == b"ftyp"
    assert answer["samples"][0]["image"]["data"] != answer["samples"][1]["image"]["data"]


def test_outputs_are_named_with_commas_blanks_or_one_by_one(client):
    for to in ("text,image", "text, image,", "text image", ["text", "image"]):
        (sample,) = post(client, to=to).json()["samples"]
        assert sample.keys() == {"seed", "text", "image"}


def test_the_command_that_comes_along_makes_the_same_bytes(client, tmp_path, monkeypatch):
    form = {"to": ["image", "audio"], "seed": 7, "guidance": 1.5, "steps": 4, "text": "a 'red' two"}
    answer = post(client, **form).json()
    words = shlex.split(answer["command"])
    assert words[:3] == ["python", "-m", "multimodal.generate"]
    monkeypatch.chdir(tmp_path)
    command(generate, plain_options(words[3:], lists=("--to",), flags=FLAGS))
    for name, suffix in (("image", "png"), ("audio", "wav")):
        data = base64.b64decode(answer["samples"][0][name]["data"])
        assert (tmp_path / "out" / f"7.{suffix}").read_bytes() == data


def test_a_stream_tells_each_step_and_gives_each_result_as_it_comes(client):
    answer = post(client, to="text,image", format="stream")
    assert answer.headers["content-type"] == "application/x-ndjson"
    events = [json.loads(line) for line in answer.text.splitlines()]
    names = [event.get("modality", event["event"]) for event in events]
    assert names == ["queue", "step", "step", "text", "step", "image", "finished"]


def test_a_zip_holds_a_file_a_signal(client):
    answer = post(client, {"audio": "seven.wav"}, to="video,text", seed=4, format="zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == ["4.mp4", "4.txt", "about.json"]
        assert "--audio seven.wav" in json.loads(archive.read("about.json"))["command"]


@pytest.mark.parametrize(
    ("files", "form", "told"),
    [
        ({}, {}, "to: Field required"),
        ({}, {"to": "smell"}, "'smell' is no modality; choose from text, image"),
        ({}, {"to": ["image", "image"]}, "names a modality twice"),
        ({}, {"to": ""}, "no output is named"),
        ({}, {"to": "image", "count": "0"}, "count is 0"),
        ({}, {"to": "image", "count": "17"}, "16 is the most here"),
        ({}, {"to": "image", "count": "many"}, "count: Input should be a valid integer"),
        ({}, {"to": "image", "count": "9" * 5000}, "count: "),
        ({}, {"to": "image", "seed": "-1"}, "seed is -1"),
        ({}, {"to": "image", "guidance": "nan"}, "guidance is nan"),
        ({}, {"to": "image", "guidance": "1e9"}, "guidance is 1000000000.0"),
        ({}, {"to": "image", "steps": "0"}, "steps is 0"),
        ({}, {"to": "image", "format": "tar"}, "format: Input should be 'json', 'stream' or"),
        ({}, {"to": "image", "first_frame": "true"}, "first_frame needs a video"),
        ({}, {"to": "image", "text": "   "}, "is empty; write a few words"),
        ({}, {"to": "image", "text": "a" * 1001}, "1001 characters"),
        ({"image": "seven.wav"}, {"to": "text"}, "seven.wav is no picture"),
        ({"audio": "seven.png"}, {"to": "text"}, "seven.png is not a WAV"),
        ({"video": "seven.png"}, {"to": "text"}, "seven.png"),
    ],
)
def test_what_cannot_be_done_is_one_line(client, files, form, told):
    assert told in refused(post(client, files, **form))


def test_a_text_that_looks_like_a_path_is_a_text(client, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("a red seven")
    assert post(client, to="text", text=str(secret)).status_code == 200
    assert post(client, to="text", text="/no/such/file.txt").status_code == 200


def test_a_files_own_name_leads_nowhere(client):
    data = (FIXTURES / "seven.png").read_bytes()
    for name in ("../../../tmp/evil.png", "/etc/passwd", "a\x00b\n.png", "x" * 3000, "$(touch a)"):
        files = {"image": (name, data)}
        answer = client.post("/generate", data={"to": "text"}, files=files)
        assert answer.status_code == 200, answer.text
        assert "../" not in answer.json()["command"]
    answer = client.post("/generate", data={"to": "text"}, files={"image": ("../x", b"no")})
    assert refused(answer).startswith("x is no picture")


def test_a_picture_of_huge_size_is_refused_by_its_header(client):
    buffer = io.BytesIO()
    Image.new("1", (11_000, 11_000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 50_000
    answer = client.post("/generate", data={"to": "text"}, files={"image": buffer.getvalue()})
    assert "121,000,000 pixels but 50,000,000 are the most" in refused(answer)


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(client):
    body = b"x" * (2**20 + 1)
    assert "1 MB" in refused(client.post("/generate", content=body), 413)
    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/generate", content=iter([body[: 2**19]] * 3), headers=kind)
    assert "1 MB" in refused(answer, 413)


def test_more_than_may_wait_get_429_and_when_to_come_again(run):
    with build_app(run, Limits(waiting=1), device="cpu", page=False) as app:
        client, service = TestClient(app), service_of(app)
        begun, go = threading.Event(), threading.Event()
        work = (lambda _: begun.set() or go.wait(600),)
        threading.Thread(target=service.call, args=work).start()
        assert begun.wait(600)
        request = service.submit(Wish({}, ("text",)))
        answer = post(client, to="text")
        go.set()
        list(request)
        assert "1 requests wait already" in refused(answer, 429)
        assert answer.headers["retry-after"] == "2"
        assert post(client, to="text").status_code == 200


def test_health_and_metrics_tell_what_happened(client):
    assert client.get("/healthz").json()["status"] == "ok"
    post(client, {"image": "seven.png"}, to="text")
    refused(post(client, to="smell"))
    lines = client.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values['unison_requests_total{door="api",status="200"}']) >= 1
    assert float(values['unison_requests_total{door="api",status="422"}']) >= 1
    assert float(values['unison_failures_total{fault="invalid"}']) >= 1
    assert float(values['unison_request_seconds_bucket{door="api",le="+Inf"}']) >= 1
    assert float(values['unison_input_drift{modality="image"}']) > 0
    assert values["unison_queue"] == "0.0"


def test_the_api_describes_itself_without_the_network(client):
    assert "/generate" in client.get("/openapi.json").json()["paths"]
    page = client.get("/docs").text
    assert "https://" not in page.replace("https://github.com", "")


def test_a_key_is_asked_for_everywhere_but_at_the_health_check(run, tmp_path):
    (tmp_path / "keys").write_text("# mine\nsesame\n\nother\n")
    keys = Keys(tmp_path / "keys")
    with build_app(run, keys=keys, device="cpu", page=False) as app:
        client = TestClient(app)
        assert client.get("/healthz").status_code == 200
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert "X-API-Key" in refused(client.get(path), 401)
        for headers in ({}, {"X-API-Key": "no"}, {"X-API-Key": ""}, {"X-API-Key": "# mine"}):
            answer = client.post("/generate", data={"to": "text"}, headers=headers)
            refused(answer, 401)
        for headers in ({"X-API-Key": "sesame"}, {"Authorization": "Bearer other"}):
            answer = client.post("/generate", data={"to": "text"}, headers=headers)
            assert answer.status_code == 200


def test_a_service_of_this_machine_answers_to_its_own_names_only(run):
    with build_app(run, device="cpu", page=False, names=["localhost"]) as app:
        client = TestClient(app)
        assert client.get("/healthz", headers={"host": "localhost:7860"}).status_code == 200
        assert client.get("/healthz", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--run", "no/such/run"], "make quickstart OUT=no/such/run (about"),
        (["--port", "99999"], "99999 cannot be listened on"),
        (["--host", "203.0.113.9"], "203.0.113.9:7860 cannot be listened on"),
        (["--api_key_file", "no/keys"], "no/keys"),
        (["--max_upload_mb", "0"], "max_upload_mb is 0"),
        (["--waiting", "0"], "waiting is 0"),
    ],
)
def test_a_service_that_cannot_be_says_so_in_one_line(run, options, told, capsys):
    argv = options if "--run" in options else ["--run", str(run), *options]
    with pytest.raises(SystemExit) as stop, warnings.catch_warnings():
        command(serve, argv)
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


def test_a_body_that_does_not_come_is_answered():
    async def reads(scope, receive, send):
        await receive()

    async def never():
        await asyncio.sleep(60)

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [], "path": "/generate"}
    asyncio.run(BodyGuard(reads, 10, quiet=0.05)(scope, never, send))
    assert sent[0]["status"] == 408


def test_the_page_hides_no_report_and_shows_it_to_none_without_a_key(run, tmp_path):
    (tmp_path / "keys").write_text("sesame\n")
    with build_app(run, device="cpu") as app:
        client = TestClient(app, raise_server_exceptions=False)
        refused(client.get("/report"), 404)
        refused(client.post("/gradio_api/process_recording"), 404)
        refused(client.post("/gradio_api/run/x", json={"data": []}), 422)
    report = run / "report.html"
    report.write_text("numbers")
    with build_app(run, keys=Keys(tmp_path / "keys"), device="cpu") as app:
        client = TestClient(app, base_url="https://testserver")
        refused(client.get("/report"), 401)
        client.post("/login", data={"username": "me", "password": "sesame"})
        assert client.get("/report").text == "numbers"
    report.unlink()
