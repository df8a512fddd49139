"""What a server counts, for Prometheus: ``GET /metrics``."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Each of these is counted by itself; any other path is counted as "other", so that nobody can fill the memory.
_PATHS = (
    "/",
    "/docs",
    "/health",
    "/metrics",
    "/openapi.json",
    "/v1/audio/classifications",
    "/v1/audio/transcriptions",
    "/v1/models",
)


class Metrics:
    """Counters of one server; any thread may count."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)  # processor time, memory, open files
        self.answers = Counter("speechgru_answers", "HTTP answers", ["path", "status"], registry=registry)
        self.answer_s = Histogram(
            "speechgru_answer_seconds", "from request to answer", ["path"], buckets=_SECONDS, registry=registry
        )
        self.requests = Gauge("speechgru_requests", "recordings that arrive, wait or are computed", registry=registry)
        self.streams = Gauge("speechgru_streams", "open streams", registry=registry)
        self.cut_off = Counter("speechgru_streams_cut_off", "streams whose clients did not read", registry=registry)
        self.events = Counter("speechgru_stream_events", "events told", ["model"], registry=registry)
        self.stream_s = Counter(
            "speechgru_stream_seconds", "sound of streams that was heard", ["model"], registry=registry
        )
        self.delay_s = Histogram(
            "speechgru_event_delay_seconds",
            "from the arrival of the sound that brought an event to its sending",
            buckets=_SECONDS,
            registry=registry,
        )
        self.together = Histogram(
            "speechgru_batch_size",
            "streams or recordings computed together",
            ["of"],
            buckets=_SIZES,
            registry=registry,
        )
        self.computing_s = Counter(
            "speechgru_computing_seconds", "in which the one thread computed", ["of"], registry=registry
        )

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self._registry)


class Counted:
    """Counts the answers of an application and the time they take."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, path = time.perf_counter(), scope["path"] if scope["path"] in _PATHS else "other"

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answers.labels(path, message["status"]).inc()
                self._metrics.answer_s.labels(path).observe(time.perf_counter() - begin)
            await send(message)

        await self._app(scope, receive, sent)
