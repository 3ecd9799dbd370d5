"""Claims about the service behind a real nginx, which strips the path's prefix or passes it on."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest

from tests.multimodal.demo.browser import chromium
from tests.multimodal.demo.wire import served_alone
from tests.tiny_run import write_models

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/bin")
HOST = "demo.example.org"
PATIENCE = 90_000
SERVER = """
  server {{
    listen 127.0.0.1:{port};
    location /unison/ {{
      proxy_pass http://127.0.0.1:{inner}{below};
      proxy_set_header Host $http_host;
    }}
  }}"""
CONFIG = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  types {{ }} client_max_body_size 16m;{servers}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx-light")


@contextmanager
def nginx(folder, inner):
    """Yield the ports of a server that passes the prefix on, and of one that strips it."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in (one, other)]
    servers = [SERVER.format(port=port, inner=inner, below=below)
               for port, below in zip(ports, ("", "/"), strict=True)]  # fmt: skip
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, servers="".join(servers)))
    process = subprocess.Popen([str(NGINX), "-e", folder / "errors", "-c", config])
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", ports[0])):
                break
            time.sleep(0.05)
        assert process.poll() is None, (folder / "errors").read_text()
        yield ports
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxied")
    run = write_models(folder / "tiny")
    options = ("--hosts", HOST, "--root_path", "/unison")
    with (
        served_alone(run, folder / "served", *options) as served,
        nginx(folder, served.port) as ports,
    ):
        yield dict(zip(("passed on", "stripped"), ports, strict=True))


def ask(port, path, data=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data)
    request.add_header("Host", f"{HOST}:{port}")
    if data is not None:
        request.add_header("Content-Type", "application/x-www-form-urlencoded")
    return urllib.request.urlopen(request, timeout=60)


@pytest.mark.parametrize("prefix", ["passed on", "stripped"])
def test_the_api_answers_through_nginx_and_its_stream_comes_step_by_step(ports, prefix):
    assert json.load(ask(ports[prefix], "/unison/healthz"))["status"] == "ok"
    with ask(
        ports[prefix], "/unison/generate", b"to=text&to=video&count=16&format=stream"
    ) as answer:
        lines = [(time.monotonic(), json.loads(line)) for line in answer]
    (first, _), (end, last) = lines[0], lines[-1]
    assert last["event"] == "finished"
    assert end - first > 0.5 * last["seconds"]  # the first did not wait for the last


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["passed on", "stripped"])
def test_the_page_works_in_a_browser_through_nginx(ports, prefix, tmp_path):
    failed = []
    with chromium(f"--host-resolver-rules=MAP {HOST} 127.0.0.1") as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("response", lambda r: failed.append((r.status, r.url)) if r.status >= 400 else None)
        page.goto(f"http://{HOST}:{ports[prefix]}/unison")
        page.wait_for_selector('#drawing button[aria-label="Brush"].highlight')
        page.set_input_files("#picture input[type=file]", "tests/fixtures/seven.png")
        page.wait_for_selector("#picture img")
        page.click("#make")
        page.wait_for_selector(".state.done")
        page.wait_for_selector("#made-image-0 img")
        with page.expect_download() as download:
            page.click("#everything")
        download.value.save_as(tmp_path / "all.zip")
        assert (tmp_path / "all.zip").read_bytes()[:2] == b"PK"
    assert not [url for status, url in failed if "manifest.json" not in url], failed
