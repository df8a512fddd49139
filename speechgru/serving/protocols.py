"""Cuts off clients that do not read, so that what is written for them does not pile up."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# A connection is cut off when its buffers have been full for this long.
_FULL_S = 5.0


class _CutsOff(asyncio.Protocol):
    """Aborts the transport of a client that takes nothing for five seconds."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _timer: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._timer = self.loop.call_later(_FULL_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class HttpProtocol(_CutsOff, H11Protocol):
    """HTTP/1.1."""


class SocketProtocol(_CutsOff, WebSocketsSansIOProtocol):
    """WebSocket."""
