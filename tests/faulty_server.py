"""A proxy before an HTTP server that drops, delays, truncates and refuses answers."""

import http.client
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("drop", "truncate", "delay", "refuse")
DELAY = 3.0
"""Seconds: more than the deadline of the tests."""


class FaultyProxy(ThreadingHTTPServer):
    """Forwards requests to a port of this machine; some of the answers to GET come to harm."""

    daemon_threads = True

    def __init__(self, port: int):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = port
        self.faults: list[str | None] = [None]
        self.asked: list[tuple[str, str | None]] = []
        self.done: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def harm(self, *faults: str | None) -> None:
        """Do these to the answers that follow, in turn and again."""
        self.faults = list(faults)
        self.asked, self.done = [], []

    def next_fault(self) -> str | None:
        return self.faults[len(self.asked) % len(self.faults)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def do_GET(self):
        self._forward(self.server.next_fault())

    def do_HEAD(self):
        self._forward(None)

    def _forward(self, fault):
        try:
            self._try_to_forward(fault)
        except OSError:  # the client or the server behind has gone
            self.close_connection = True

    def _try_to_forward(self, fault):
        if self.command == "GET":
            self.server.asked.append((self.path, self.headers.get("Range")))
        if fault:
            self.server.done.append(fault)
        if fault == "drop":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if fault == "refuse":
            return self._answer(503, {}, b"slow down")
        if fault == "delay":
            time.sleep(DELAY)
        target = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=30)
        target.request(self.command, self.path, headers=dict(self.headers))
        answer = target.getresponse()
        body = answer.read()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in ("transfer-encoding",)}
        if fault == "truncate":
            body = body[: len(body) // 2]
            kept["Content-Length"] = str(len(body))  # whoever trusts the length sees nothing wrong
        return self._answer(answer.status, kept, body)

    def _answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass
