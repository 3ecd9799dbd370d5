"""Claims about the service behind a proxy: whom it answers, and below which path."""

import asyncio
import json
import re

import pytest
from starlette.testclient import TestClient

from core.errors import UserError
from multimodal.demo.__main__ import gather_hosts
from multimodal.demo.app import build_app
from multimodal.demo.doors import Keys
from multimodal.demo.front import HOME, Front, is_named, parse_hosts, parse_root_path
from tests.tiny_run import write_models

PUBLIC = {"host": "demo.example.org"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def client(run):
    """The page and the API as a proxy at https://demo.example.org/unison/ asks them."""
    report = run / "report.html"
    report.write_text("numbers")
    names = [*HOME, "demo.example.org"]
    with build_app(run, device="cpu", names=names, prefix="/unison") as app:
        yield TestClient(app, raise_server_exceptions=False, headers=PUBLIC)
    report.unlink()


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json", "/docs", "/report"])
def test_paths_are_found_whether_a_proxy_strips_the_prefix_or_not(client, path):
    answers = [client.get(path), client.get(f"/unison{path}")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert path == "/metrics" or answers[0].content == answers[1].content


def test_generation_works_below_the_prefix_and_streams_are_not_held_back(client):
    form = {"to": "text", "format": "stream"}
    for path in ("/generate", "/unison/generate"):
        answer = client.post(path, data=form)
        assert json.loads(answer.text.splitlines()[-1])["event"] == "finished"
        assert answer.headers["x-accel-buffering"] == "no"


def test_the_api_describes_itself_below_the_prefix(client):
    assert client.get("/unison/openapi.json").json()["servers"] == [{"url": "/unison"}]
    page = client.get("/unison/docs").text
    assert "'/unison/openapi.json'" in page
    assert 'src="/unison/static-offline-docs/swagger-ui-bundle.js"' in page
    script = client.get("/unison/static-offline-docs/swagger-ui-bundle.js")
    assert script.status_code == 200


@pytest.mark.parametrize(
    ("headers", "root"),
    [
        ({}, "http://demo.example.org/unison"),
        ({"x-forwarded-proto": "https"}, "https://demo.example.org/unison"),
        (
            {"host": "127.0.0.1:7860", "x-forwarded-host": "demo.example.org:8443",
             "x-forwarded-proto": "https"},
            "https://demo.example.org:8443/unison",
        ),
    ],
)  # fmt: skip
def test_the_page_asks_below_the_public_address(client, headers, root):
    for path in ("/", "/unison/", "/config", "/unison/config"):
        text = client.get(path, headers=headers).text
        assert f'"root":"{root}"' in text.replace('": "', '":"'), path


def test_every_asset_of_the_page_is_named_relative_to_its_folder(client):
    page = client.get("/unison/").text
    assert "/unison/report" in page
    absolute = set(re.findall(r'(?:src|href)="(/[^"]*)"', page))
    assert absolute <= {"/manifest.json"}  # Gradio's own; asked for where a page is installed


def test_the_prefix_without_a_slash_leads_to_its_folder(client):
    answer = client.get("/unison?theme=dark", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == "/unison/?theme=dark"


def test_what_only_begins_like_the_prefix_is_not_below_it(client):
    assert client.get("/unisonx/healthz").status_code == 404


def test_keys_are_asked_for_below_the_prefix_too(run, tmp_path):
    (tmp_path / "keys").write_text("sesame\n")
    keys = Keys(tmp_path / "keys")
    with build_app(run, keys=keys, device="cpu", page=False, prefix="/unison") as app:
        client = TestClient(app)
        for path in ("/metrics", "/unison/metrics", "/docs", "/unison/openapi.json"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"x-api-key": "sesame"}).status_code == 200


def test_the_pages_closed_doors_are_closed_below_the_prefix_too(client):
    for path in ("/gradio_api/process_recording", "/unison/gradio_api/process_recording"):
        assert client.post(path).status_code == 404


def test_an_unknown_host_gets_one_line_with_the_way_out(client):
    answer = client.get("/healthz", headers={"host": "evil.example:80"})
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "'evil.example:80' is no host name of this service; start it with --hosts evil.example"
    )


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("demo.example.org", ["demo.example.org"]),
        ("DEMO.example.org.:8443", ["demo.example.org"]),
        ("[::1]:7860", HOME),
        ("[0:0:0:0:0:0:0:1]", HOME),
        ("localhost:7860", HOME),
        ("a.b.example.org", ["*.example.org"]),
        ("whatever", ["*"]),
        ("192.0.2.7:80", ["192.0.2.7"]),
        ("[2001:db8::7]:80", ["2001:db8::7"]),
        ("xn--mnchen-3ya.example", parse_hosts(["münchen.example"])),
    ],
)
def test_a_host_is_known_by_name_whatever_its_port_or_spelling(header, names):
    assert is_named(header, names)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("example.org", ["*.example.org"]),
        ("evilexample.org", ["*.example.org"]),
        ("demo.example.org.evil.example", ["demo.example.org"]),
        ("evil@localhost", HOME),
        ("localhost/evil", HOME),
        ("localhost:port", HOME),
        ("[::1", HOME),
        ("[", ["*"]),
        ("", ["*"]),
        ("localhost evil", HOME),
    ],
)
def test_no_other_host_is_known(header, names):
    assert not is_named(header, names)


def test_a_request_without_a_host_is_no_browsers_and_is_answered():
    async def ok(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent = []

    async def never():
        raise AssertionError("there is no body")

    async def send(message):
        sent.append(message["status"])

    scope = {"type": "http", "headers": [], "path": "/healthz"}  # as HAProxy's checks are
    asyncio.run(Front(ok, HOME)(scope, never, send))
    assert sent == [200]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["demo.example.org"], ["demo.example.org"]),
        (["A.org, b.org", "c.org:8443"], ["a.org", "b.org", "c.org"]),
        (["[::1]:80", "2001:DB8::7"], ["::1", "2001:db8::7"]),
        (["*", "*.example.org", "my_host"], ["*", "*.example.org", "my_host"]),
    ],
)
def test_hosts_are_named_in_any_usual_way(words, names):
    assert parse_hosts(words) == names


@pytest.mark.parametrize("name", ["https://a.org", "a.org/unison", "a.*.org", "*a.org", "a..org"])
def test_what_no_host_is_called_is_refused(name):
    with pytest.raises(UserError, match="such as demo"):
        parse_hosts([name])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ("", "")),
        ("/", ("", "")),
        ("unison", ("/unison", "")),
        ("/a/unison-1/", ("/a/unison-1", "")),
        ("https://a.org:8443/unison/", ("/unison", "https://a.org:8443/unison")),
        ("https://a.org", ("", "https://a.org")),
    ],
)
def test_a_root_path_is_a_path_or_a_whole_address(text, told):
    assert parse_root_path(text) == told


@pytest.mark.parametrize(
    "text", ["/a b", "/../etc", "/a?b", "/a//b", "https://a.org/?x", "https://"]
)
def test_another_root_path_is_refused(text):
    with pytest.raises(UserError, match="root_path is"):
        parse_root_path(text)


@pytest.mark.parametrize(
    "argv",
    [
        ["--hosts", "a.org", "b.org", "--port", "80"],
        ["--hosts", "a.org", "--port", "80", "--hosts=b.org"],
        ["--port", "80", "--hosts", "a.org", "--hosts", "b.org"],
    ],
)
def test_hosts_may_be_given_at_once_or_one_after_the_other(argv):
    assert gather_hosts(argv) == ["--port", "80", '--hosts=["a.org", "b.org"]']
