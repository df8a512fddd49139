"""Cuts off clients that do not read, or never finish a request, so that nothing piles up for them."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# A connection is cut off when its buffers have been full for this long.
_FULL_S = 5.0
# The head of a request has so long to arrive.
HEAD_S = 60.0


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
    """HTTP/1.1; a connection whose request has not told its headers within a minute is closed."""

    _awaited: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._has_head()
        elif self._awaited is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_head()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._awaited = self.loop.call_later(HEAD_S, self.transport.abort)

    def _has_head(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None


class SocketProtocol(_CutsOff, WebSocketsSansIOProtocol):
    """WebSocket."""
