"""The service's outermost layer: whom it answers by name, and the path below which it is served.

A browser can be led to a service on this machine by a site whose name resolves to 127.0.0.1 (DNS
rebinding), so only known host names are answered. Behind a reverse proxy the public name is one
more of them, and the page may live below a path such as /unison.
"""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import UserError
from multimodal.demo.doors import answer

HOME = ("localhost", "127.0.0.1", "::1")
"""Names by which this machine calls itself."""
ANY = "*"
LABELS = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
SEGMENTS = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
STREAMS = ("text/event-stream", "application/x-ndjson")
"""Media types that a proxy must pass on piece by piece."""
SHOWN = 80
"""Characters of a host name that a message repeats."""


class Front:
    """Answers 400 to unknown host names, and takes requests with and without the path's prefix.

    A proxy may strip the prefix or pass it on; both work, and so does the way past the proxy. What
    lies behind sees `root_path` as ASGI has it, so redirects and links stay below the prefix.

    Args:
        app: What answers.
        names: Host names as `parse_hosts` returns them; None answers to all.
        prefix: Such as "/unison"; "" is none.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str] | None, prefix: str = ""):
        self.app, self.names, self.prefix = app, names, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, its path below the prefix."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("host")
        if self.names is not None and asked is not None and not is_named(asked, self.names):
            await _refuse(scope, receive, send, asked)
            return
        if self.prefix and scope["path"] == self.prefix and scope["type"] == "http":
            await _to_folder(scope, send, self.prefix)  # relative links need the slash
            return
        await self.app(below(scope, self.prefix), receive, _unbuffered(send))


def below(scope: Scope, prefix: str) -> Scope:
    """Return a scope whose path begins with the prefix, which is its `root_path`."""
    if not prefix:
        return scope
    path, raw = scope["path"], scope.get("raw_path") or b""
    if not path.startswith(f"{prefix}/"):
        path, raw = prefix + path, prefix.encode() + raw
    return {**scope, "path": path, "raw_path": raw, "root_path": prefix}


def parse_hosts(words: Sequence[str]) -> list[str]:
    """Return host names without ports: "*" is any, "*.example.org" whatever is below that.

    Raises:
        UserError: for what no Host header can hold.
    """
    names = [name for word in words for name in re.split(r"[,\s]+", word) if name]
    return [_parse_host(name) for name in names]


def is_named(header: str, names: Sequence[str]) -> bool:
    """Tell whether a Host header holds one of the names; ports and capitals do not matter."""
    host = _host(header)
    if not host:
        return False
    if ANY in names or host in names:
        return True
    return any(name.startswith("*.") and host.endswith(name[1:]) for name in names)


def parse_root_path(text: str) -> tuple[str, str]:
    """Return the prefix, and the whole public address where one is given (else "").

    "/unison/" and "unison" give ("/unison", ""), "https://example.org/unison" gives
    ("/unison", "https://example.org/unison").
    """
    address = text.rstrip("/") if text.lower().startswith(("http://", "https://")) else ""
    path = urlsplit(address).path if address else text.strip("/")
    prefix = f"/{path.strip('/')}" if path else ""
    if (prefix and not SEGMENTS.fullmatch(prefix)) or (address and not _is_plain(address)):
        raise UserError(
            f"root_path is {text!r} but must be a path of letters, digits and -._~, such as "
            "/unison, or the page's whole address, such as https://example.org/unison"
        )
    return prefix, address


def _is_plain(address: str) -> bool:
    split = urlsplit(address)
    return bool(split.hostname) and not (split.query or split.fragment or split.username)


def _parse_host(name: str) -> str:
    host = name if name == ANY else _host(name)
    if host is None or not (host == ANY or _is_address(host) or LABELS.fullmatch(host)):
        raise UserError(
            f"hosts names {name!r} but a host is a name or an address, such as demo.example.org, "
            "*.example.org or 192.0.2.7, or * for any; leave out https:// and paths"
        )
    return host


def _host(header: str) -> str | None:
    """Return a Host header's name in lower case without port and final dot; None for nonsense."""
    text = header.strip()
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # an IPv6 address as people write it
    if not text or any(c in text for c in "/\\@?#, \t"):
        return None
    try:
        split = urlsplit(f"//{text}")
        host, _ = split.hostname, split.port  # the port raises if it is no number
        host = host.encode("idna").decode() if host and not host.isascii() else host
    except (ValueError, UnicodeError):
        return None
    return None if not host else _plain_address(host.rstrip("."))


def _plain_address(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _refuse(scope: Scope, receive: Receive, send: Send, asked: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    name = "".join(c if c.isprintable() else "?" for c in asked)[:SHOWN]
    known = _host(asked) or "NAME"
    detail = f"{name!r} is no host name of this service; start it with --hosts {known[:SHOWN]}"
    await answer(send, 400, detail)


async def _to_folder(scope: Scope, send: Send, prefix: str) -> None:
    query = scope.get("query_string", b"")
    place = f"{prefix}/".encode() + (b"?" + query if query else b"")
    headers = [(b"location", place), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _unbuffered(send: Send) -> Send:
    """Return a `send` that asks nginx to pass on streams as they come."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message.get("headers", [])).get("content-type", "")
            if kind.startswith(STREAMS):
                extra = [(b"x-accel-buffering", b"no"), (b"cache-control", b"no-cache")]
                message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return sending
