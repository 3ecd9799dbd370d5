"""Who may come in, and with how much."""

import asyncio
import hashlib
import hmac
import time
from contextlib import suppress
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import UserError
from core.files import existing_file

QUIET, WHOLE = 10.0, 300.0
"""Seconds that the next byte of a body, and all of it, may take."""
LATE = "the body did not come in time; send it again"


class Keys:
    """The keys of a file, one a line; lines that begin with # are left out."""

    def __init__(self, path: Path):
        lines = existing_file(path).read_text(encoding="utf-8").splitlines()
        keys = [line.strip() for line in lines]
        self._digests = [_digest(key) for key in keys if key and not key.startswith("#")]
        if not self._digests:
            raise UserError(f"{path} holds no key; write one a line")

    def has(self, key: str) -> bool:
        """Tell whether a key is one of them, in a time that does not say how nearly."""
        found = [hmac.compare_digest(_digest(key), digest) for digest in self._digests]
        return any(found)


class KeyGuard:
    """Answers 401 to what comes to some paths without a key of the file."""

    def __init__(self, app: ASGIApp, keys: Keys, paths: tuple[str, ...]):
        self.app, self.keys, self.paths = app, keys, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that may come in."""
        if scope["type"] == "http" and local_path(scope) in self.paths:
            headers = {
                name: value.decode("utf-8", "surrogateescape") for name, value in scope["headers"]
            }
            bearer = headers.get(b"authorization", "").removeprefix("Bearer ")
            if not self.keys.has(headers.get(b"x-api-key", bearer)):
                await answer(send, 401, "a key is needed: send it as X-API-Key")
                return
        await self.app(scope, receive, send)


class BodyGuard:
    """Answers 413 to a body larger than `most` bytes, and 408 to one that does not come.

    It reads no more than that, and waits no longer than `quiet` seconds for the next byte and
    `whole` for the last.
    """

    def __init__(self, app: ASGIApp, most: int, quiet: float = QUIET, whole: float = WHOLE):
        self.app, self.most, self.quiet, self.whole = app, most, quiet, whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request whose body is counted while it comes in."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced[:20]) > self.most:
            await answer(send, 413, self._too_large())
            return
        body = _Body(self, receive, send)
        with suppress(_Refused):
            await self.app(scope, body.receive, body.send)
        if body.refused and not body.answered:
            await answer(send, body.refused, self._too_large() if body.refused == 413 else LATE)

    def _too_large(self) -> str:
        return f"a request may have {self.most / 2**20:g} MB; send smaller files"


class _Body:
    """One request's body on its way in."""

    def __init__(self, guard: BodyGuard, receive: Receive, send: Send):
        self.guard, self._receive, self._send = guard, receive, send
        self.taken, self.whole = 0, False
        self.until = time.monotonic() + guard.whole
        self.refused = 0
        self.answered = False

    async def receive(self) -> Message:
        """Return the next part; once all is there, wait for as long as it takes."""
        if self.whole:
            return await self._receive()
        patience = min(self.guard.quiet, self.until - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, patience))
        except TimeoutError:
            self.refused = 408
            raise _Refused from None
        self.taken += len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        if self.taken > self.guard.most:
            self.refused = 413
            raise _Refused
        return message

    async def send(self, message: Message) -> None:
        """Pass on the answer, but not what is said of a body that was cut off here."""
        if self.answered or not self.refused:
            self.answered = True
            await self._send(message)


class _Refused(Exception):
    pass


def local_path(scope: Scope) -> str:
    """Return a request's path without the prefix below which the service is served."""
    return scope.get("path", "").removeprefix(scope.get("root_path", ""))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


async def answer(send: Send, status: int, detail: str) -> None:
    """Answer with one line, and close the connection."""
    from starlette.responses import JSONResponse

    async def nothing() -> Message:
        return {"type": "http.request", "body": b""}

    response = JSONResponse({"detail": detail}, status, headers={"connection": "close"})
    await response({"type": "http"}, nothing, send)
