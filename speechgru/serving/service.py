"""What all requests share: the models, the thread that computes, the limits."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from speechgru.serving.limits import Limits, Refused
from speechgru.serving.metrics import Metrics
from speechgru.serving.served import Served
from speechgru.serving.worker import Worker

Answer = TypeVar("Answer")

# Recordings that are read at the same time; the others wait. Each holds some minutes of sound at most.
_READERS = 16


@dataclasses.dataclass(eq=False)
class Service:
    """A running server.

    Attributes:
        models: by name, in the order in which they were given.
        worker: computes.
        limits: how much is accepted.
        folder: for recordings while they are read.
        readers: threads that read recordings and wait for the worker.
        metrics: what is counted.
        requests: recordings that arrive, wait or are computed now.
        streams: streams that are open now.
    """

    models: dict[str, Served]
    worker: Worker
    limits: Limits
    folder: str
    readers: ThreadPoolExecutor
    metrics: Metrics
    requests: int = 0
    streams: int = 0

    def model(self, name: str, verb: str | None = None) -> Served:
        """The model of a request; without a name, the first one that does ``verb``.

        Args:
            name: as the request has it.
            verb: what it must do, ``transcribe`` or ``classify``; None: anything.

        Raises:
            Refused: there is no such model, or it does something else.
        """
        fitting = {one.name: one for one in self.models.values() if verb in (None, one.verb)}
        if not name and fitting:
            return next(iter(fitting.values()))
        if name in fitting:
            return fitting[name]
        what = f"those that {verb}" if verb else "served"
        known = f"({what}: {', '.join(fitting) or 'none'})"
        if name in self.models:
            raise Refused(400, f"model {name!r} does not {verb}, but {self.models[name].verb} {known}")
        shown = repr(name[:60]) if name else "not given"
        raise Refused(404, f"model {shown}: not served here {known}", "model_not_found")

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """One more recording arrives, waits or is computed while the block lasts.

        Raises:
            Refused: there are too many.
        """
        if self.requests >= self.limits.requests:
            raise Refused(503, f"{self.requests} requests wait already; ask again in a second", "busy")
        self.requests += 1
        self.metrics.requests.set(self.requests)
        try:
            yield
        finally:
            self.requests -= 1
            self.metrics.requests.set(self.requests)

    @contextlib.contextmanager
    def stream_admitted(self) -> Iterator[None]:
        """One more stream is open while the block lasts; raises as :meth:`admitted`."""
        if self.streams >= self.limits.streams:
            raise Refused(503, f"{self.streams} streams are open already; try again later", "busy")
        self.streams += 1
        self.metrics.streams.set(self.streams)
        try:
            yield
        finally:
            self.streams -= 1
            self.metrics.streams.set(self.streams)

    def in_thread(self, compute: Callable[[], Answer]) -> asyncio.Future[Answer]:
        """What ``compute`` gives in a thread that may wait."""
        return asyncio.get_running_loop().run_in_executor(self.readers, compute)


def reader_threads() -> ThreadPoolExecutor:
    """The threads for :attr:`Service.readers`."""
    return ThreadPoolExecutor(_READERS, thread_name_prefix="read")
