"""Who may come in, and with how much."""

import hashlib
import hmac
from contextlib import suppress
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.files import existing_file

OPEN = ("/healthz",)
"""Paths that need no key."""


class Keys:
    """The keys of a file, one a line; lines that begin with # are left out."""

    def __init__(self, path: Path):
        lines = existing_file(path).read_text(encoding="utf-8").splitlines()
        keys = [line.strip() for line in lines]
        self._digests = [_digest(key) for key in keys if key and not key.startswith("#")]
        if not self._digests:
            raise ValueError(f"{path} holds no key; write one a line")

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
        if scope["type"] == "http" and scope["path"] in self.paths:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            bearer = headers.get(b"authorization", "").removeprefix("Bearer ")
            if not self.keys.has(headers.get(b"x-api-key", bearer)):
                await _answer(send, 401, "a key is needed: send it as X-API-Key")
                return
        await self.app(scope, receive, send)


class SizeGuard:
    """Answers 413 to a body larger than `most` bytes, and reads no more of it than that."""

    def __init__(self, app: ASGIApp, most: int):
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request whose body is counted while it comes in."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced[:20]) > self.most:
            await self._refuse(send)
            return
        taken, begun, over = 0, False, False

        async def counted() -> Message:
            nonlocal taken, over
            message = await receive()
            taken += len(message.get("body", b""))
            over = taken > self.most
            if over:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            if begun or not over:  # what is said of a body that was cut off is not the reason
                begun = True
                await send(message)

        with suppress(_TooLarge):
            await self.app(scope, counted, noted)
        if over and not begun:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        size = self.most / 2**20
        await _answer(send, 413, f"a request may have {size:g} MB; send smaller files")


class _TooLarge(Exception):
    pass


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


async def _answer(send: Send, status: int, detail: str) -> None:
    from starlette.responses import JSONResponse

    async def nothing() -> Message:
        return {"type": "http.request", "body": b""}

    response = JSONResponse({"detail": detail}, status, headers={"connection": "close"})
    await response({"type": "http"}, nothing, send)
