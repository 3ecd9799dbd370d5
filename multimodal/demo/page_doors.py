"""What of the page's own doors is open: Gradio has many."""

import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from multimodal.demo.doors import answer, local_path

PAGE = "/gradio_api/"
CLOSED = ("api/", "call/", "dev/", "mcp", "monitoring", "process_recording", "profiling", "proxy=",
          "run-history", "runs", "stream/", "vibe", "deep_link")  # fmt: skip
"""Paths of Gradio that the page never asks for: other doors to the same functions, and tools."""
CALLS = ("queue/join", "run/")
"""Those that call functions of the page."""


class PageGuard:
    """Closes what Gradio offers beyond this page, and calls nonsense by its name.

    Gradio answers 500 to any call that a function cannot take, as if that were a defect; it has
    written its traceback to the log all the same. And it would fetch a file that is given by the
    address of another host, of any size.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what the page itself may ask."""
        path = local_path(scope)
        if scope["type"] != "http" or not path.startswith(PAGE):
            await self.app(scope, receive, send)
            return
        if path.removeprefix(PAGE).startswith(CLOSED):
            await answer(send, 404, "the page does not have this; the API is described at /docs")
            return
        if path.removeprefix(PAGE).startswith(CALLS):
            messages = await _all_of(receive)
            if names_host(b"".join(message.get("body", b"") for message in messages)):
                await answer(send, 422, "a file is sent, not named by an address")
                return
            receive = _again(messages, receive)
        broken = False

        async def named(message: Message) -> None:
            nonlocal broken
            if message["type"] == "http.response.start" and message["status"] >= 500:
                broken = True
                await answer(send, 422, "the page cannot take this; the API is described at /docs")
            elif not broken:
                await send(message)

        await self.app(scope, receive, named)


def names_host(body: bytes) -> bool:
    """Tell whether a call gives a file by the address of another host."""
    try:
        left = [json.loads(body)]
    except (ValueError, RecursionError):
        return False  # Gradio refuses it
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += value.values()
            if str(value.get("path")).strip().lower().startswith(("http:", "https:")):
                return True
    return False


async def _all_of(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Return what gives the messages once more, and then what else comes."""
    left = iter(messages)

    async def again() -> Message:
        return next(left, None) or await receive()

    return again
