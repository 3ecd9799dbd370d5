"""Claims about where the service listens, and about starting it in a container."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from core.errors import UserError
from multimodal.demo.listening import address_text, is_loopback, listen
from tests.tiny_run import write_models

ROOT = Path(__file__).parents[3]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6 on the loopback interface")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        *(pytest.param(h, marks=IPV6) for h in ("::1", "[::1]", "::")),
    ],
)
def test_port_0_is_any_free_port_on_every_kind_of_host(host):
    with listen(host, 0) as taken:
        family, port = taken.family, taken.getsockname()[1]
        reached = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        assert port > 0
        with socket.create_connection((reached, port), timeout=20):
            pass


def test_a_port_that_is_taken_is_one_line_for_the_second_even_before_the_first_answers():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"127.0.0.1:{port} cannot .*--port 0 for one"):
            listen("127.0.0.1", port)
    with listen("127.0.0.1", port) as again:  # and it is free again at once
        assert again.getsockname()[1] == port


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("127.0.0.1", 99_999, "a port is from 0 to 65535"),
        ("127.0.0.1", -1, "a port is from 0 to 65535"),
        ("203.0.113.9", 0, "choose another --host"),
        ("no such host", 0, "choose another --host"),
        ("a" * 70, 0, "choose another --host"),
        ("127.0.0.1.", 99_999, "127.0.0.1.:99999"),
    ],
)
def test_where_nobody_can_listen_is_one_line(host, port, told):
    with pytest.raises(UserError, match=re.escape(told)):
        listen(host, port)


def test_an_ipv6_host_stands_in_brackets():
    assert address_text("::1", 80) == "[::1]:80"
    assert is_loopback("::1")
    assert is_loopback("[::1]")
    assert is_loopback("localhost")
    assert not is_loopback("::")


def test_it_serves_in_a_container_without_home_or_user(tmp_path):
    """No home, a user whom nobody knows, a folder that cannot be written, another folder's run."""
    run = write_models(tmp_path / "ein Lauf")
    (tmp_path / "tmp").mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    argv = [sys.executable, "-m", "multimodal.demo", "--run", str(run), "--port", "0"]
    process = subprocess.Popen(
        [*argv, "--device", "cpu", "--hosts", "demo.example.org", "--hosts=*.example.net"],
        cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=kept | {
            "HOME": "/proc/nohome", "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
        },
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+) serves", line)
        assert found, line
        for host in ("localhost", "demo.example.org", "a.example.net:8443"):
            request = urllib.request.Request(f"http://127.0.0.1:{found[1]}/config")
            request.add_header("Host", host)
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
