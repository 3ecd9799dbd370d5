"""Connections that never say what they want: closed after a while."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0
"""Time for the first line and the headers of a request."""


class TimedHeads(H11Protocol):
    """HTTP/1.1 that answers 400 where a request's head is not there in time.

    Uvicorn bounds how long a connection may be idle between requests, not before the first nor
    within a head, so a few hundred sockets that say nothing would keep everybody out.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; the time runs while it is a part of a head only."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._time_head()
        else:
            self._stop()

    def _time_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(SECONDS, self._late)

    def _stop(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.send_400_response("No whole request came in time.")
