"""``/v1/stream``: sound in over a WebSocket, events out while it is heard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from speechgru.audio.decoder import check_rate
from speechgru.errors import AudioError
from speechgru.serving.limits import Refused
from speechgru.serving.streams import STEP_S, Heard, OpenStream

if TYPE_CHECKING:
    from speechgru.serving.served import Served
    from speechgru.serving.service import Service

# A message holds at most this many bytes.
MOST_BYTES = 1 << 20
# A stream that sends nothing for this long is closed.
_IDLE_S = 60.0
# A client with more waiting sound than this is not read from until that sound is computed.
_WAITING_S = 2 * STEP_S
# A client that has left this many steps with events unread is cut off.
_UNREAD = 256
# WebSocket close codes of errors (RFC 6455, section 7.4): try later, the server's fault; 1008 for anything else.
_CLOSE_CODES = {503: 1013, 500: 1011}


async def stream(socket: WebSocket) -> None:
    """One stream of a model: ``?model=NAME&rate=HZ``, then int16 samples; ``{"type": "end"}`` asks for the last events.

    Each event is a message of JSON; the last one is ``{"kind": "end", "seconds": ...}``. A refusal is sent as a message
    with ``error``, and the stream is closed.
    """
    service: Service = socket.app.state.service
    origin = socket.headers.get("origin")
    if origin is not None and _host(origin) != socket.headers.get("host"):  # somebody else's page in the user's browser
        refused = Refused(403, f"a page of {origin[:100]} may not ask here")
        await socket.send_denial_response(JSONResponse(refused.body, refused.status))
        return
    await socket.accept("speechgru" if "speechgru" in socket.scope["subprotocols"] else None)
    with contextlib.suppress(WebSocketDisconnect):
        try:
            with service.stream_admitted():
                await _connection(socket, service).run()
        except Refused as refused:
            reason = str(refused).encode()[:120].decode(errors="ignore")
            await socket.send_text(json.dumps(refused.body))
            await socket.close(_CLOSE_CODES.get(refused.status, 1008), reason)


def _host(origin: str) -> str:
    """The host of a page's address; empty where it has none, as that of a page in a sandbox ("null")."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _connection(socket: WebSocket, service: Service) -> _Connection:
    name, rate = socket.query_params.get("model", ""), socket.query_params.get("rate", "16000")
    served = service.model(name)
    try:
        check_rate(int(rate) if rate.isdecimal() and len(rate) < 9 else 0, "rate")
    except AudioError as error:
        raise Refused(400, str(error)) from None
    return _Connection(socket, service, served, int(rate))


class _Connection:
    def __init__(self, socket: WebSocket, service: Service, served: Served, rate: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket, self._service, self._rate = socket, service, rate
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()
        self._room = asyncio.Event()
        self._cut_off = self._loop.create_future()
        self._stream = OpenStream(served, rate, self._tell)
        self._samples, self._half = 0, b""

    async def run(self) -> None:
        """Runs until one side ends.

        Raises:
            Refused: the client sends what it may not, or the model fails.
            WebSocketDisconnect: the client has gone.
        """
        receiving, sending = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._send())
        tasks = {receiving, sending, self._cut_off}
        try:
            while not (sending.done() or self._cut_off.done()):
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            receiving.cancel()
            sending.cancel()
            self._service.worker.drop(self._stream)

    def _tell(self, heard: Heard) -> None:
        """Called by the worker."""
        with contextlib.suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self._take, heard)

    def _take(self, heard: Heard) -> None:
        self._room.set()
        if heard.events or heard.ended:
            self._heard.put_nowait(heard)
        if self._heard.qsize() > _UNREAD and not self._cut_off.done():
            self._cut_off.set_result(None)
            self._service.metrics.cut_off.inc()

    async def _send(self) -> None:
        heard, metrics, name = Heard(), self._service.metrics, self._stream.served.name
        while not heard.ended:
            heard = await self._heard.get()
            for event in heard.events:
                await self._socket.send_text(json.dumps(event.record()))
                metrics.delay_s.observe(time.perf_counter() - heard.arrived_s)
            metrics.events.labels(name).inc(len(heard.events))
        if heard.error:
            raise Refused(500, heard.error)
        await self._socket.send_text(json.dumps({"kind": "end", "seconds": self._samples / self._rate}))
        await self._socket.close()

    async def _receive(self) -> None:
        """Passes to the worker what arrives, until the client says that this was all."""
        sound = self._service.metrics.stream_s.labels(self._stream.served.name)
        try:
            async with asyncio.timeout(_IDLE_S) as silence:
                while (samples := await self._next()) is not None:
                    self._samples += len(samples)
                    sound.inc(len(samples) / self._rate)
                    if self._samples > self._service.limits.stream_s * self._rate:
                        longest = f"{self._service.limits.stream_s:g} s"
                        raise Refused(413, f"the stream is longer than {longest}; begin another one")
                    self._service.worker.feed(self._stream, samples)
                    if self._stream.waiting > _WAITING_S * self._rate:
                        silence.reschedule(None)
                        await self._until_there_is_room()
                    silence.reschedule(self._loop.time() + _IDLE_S)
        except TimeoutError:
            raise Refused(408, f"nothing came for {_IDLE_S:g} s") from None
        self._service.worker.feed(self._stream, None)

    async def _until_there_is_room(self) -> None:
        self._stream.held_up = True
        self._room.clear()
        while self._stream.waiting > _WAITING_S * self._rate:
            await self._room.wait()
            self._room.clear()
        self._stream.held_up = False

    async def _next(self) -> np.ndarray | None:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        content = message.get("bytes")
        if content is None:
            if _is_end(message.get("text", "")):
                return None
            raise Refused(400, 'a text is {"type": "end"}; sound is sent as bytes: int16, little-endian, one channel')
        content = self._half + content
        whole = len(content) // 2 * 2
        self._half = content[whole:]
        return np.frombuffer(content[:whole], "<i2").astype(np.int16, copy=False)


def _is_end(text: str) -> bool:
    try:
        return json.loads(text) == {"type": "end"}
    except (ValueError, RecursionError):
        return False
