"""One thread computes for all requests: streams first, then recordings, each in batches of what waits."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
from torch import Tensor

from speechgru.serving.metrics import Metrics
from speechgru.serving.streams import OpenStream, advance

# The results of waveforms (samples,), in their order.
Compute = Callable[[Sequence[Tensor]], Sequence[Any]]

# Steps of streams begin at least this long after one another: all sound that has come meanwhile is computed together.
_STEP_EVERY_S = 0.05
# A batch is padded to at most this many samples: streams wait for one batch at most.
_MOST_SAMPLES = 30 * 16000
# Waveforms are padded to at most this multiple of the shortest one's length.
_MOST_PADDING = 1.5


@dataclasses.dataclass(eq=False)
class _Task:
    compute: Compute
    waveform: Tensor
    result: Future[Any]


class Worker:
    """The thread that computes; as a context manager it ends with the block.

    Waveforms of similar length with the same ``compute`` are computed together, up to 30 seconds in a batch. Where a
    batch fails, each waveform of it is computed alone: only the one at fault fails. Streams are computed before each
    batch, all that have sound together, at most 20 times a second while none of them has more than a step's sound.

    Args:
        batch_size: waveforms computed together, at least 1. With 1 the numbers are those of each waveform alone, to the
            bit.
        metrics: where it counts what it does.
    """

    def __init__(self, batch_size: int, metrics: Metrics) -> None:
        self._batch_size, self._metrics = batch_size, metrics
        self._changed = threading.Condition()
        self._tasks: deque[_Task] = deque()
        self._fed: dict[OpenStream, None] = {}  # those with something to compute, in order
        self._next_step_s = 0.0  # when streams go on, by time.monotonic
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def submit(self, compute: Compute, waveform: Tensor) -> Future[Any]:
        """The future result for a waveform (samples,); it is cancelled where the worker has ended."""
        task = _Task(compute, waveform, Future())
        with self._changed:
            if self._closed:
                task.result.cancel()
            else:
                self._tasks.append(task)
                self._changed.notify()
        return task.result

    def feed(self, stream: OpenStream, samples: np.ndarray | None) -> None:
        """Adds int16 samples (samples,) of a stream to compute; None ends the stream."""
        with self._changed:
            if samples is None:
                stream.end()
            else:
                stream.put(samples)
            if not self._fed:  # else the time of the next step is known already
                self._changed.notify()
            self._fed[stream] = None

    def drop(self, stream: OpenStream) -> None:
        """Drops a stream that nobody listens to any more."""
        with self._changed:
            self._fed.pop(stream, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._tasks or self._closed) and (pause_s := self._pause_s()) != 0:
                    self._changed.wait(pause_s)
                if self._closed:
                    for task in self._tasks:
                        task.result.cancel()
                    return
                taken = self._take_fed() if self._pause_s() == 0 else []
                batch = self._next_batch() if self._tasks else []
            batch = [task for task in batch if task.result.set_running_or_notify_cancel()]
            with self._counted("streams", len(taken)):
                for stream, heard in advance(taken):
                    if heard.events or heard.ended or stream.held_up:
                        stream.tell(heard)
            with self._counted("recordings", len(batch)):
                self._compute(batch)

    @contextlib.contextmanager
    def _counted(self, what: str, together: int) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        if together:
            self._metrics.together.labels(what).observe(together)
            self._metrics.computing_s.labels(what).inc(time.perf_counter() - begin)

    def _pause_s(self) -> float | None:
        """How long until the next step of streams; None where none of them has sound."""
        return max(0.0, self._next_step_s - time.monotonic()) if self._fed else None

    def _take_fed(self) -> list[tuple[OpenStream, np.ndarray, bool]]:
        taken = [(stream, *stream.take()) for stream in self._fed]
        self._fed = {stream: None for stream, _, _ in taken if stream.waiting}
        self._next_step_s = 0.0 if self._fed else time.monotonic() + _STEP_EVERY_S
        return taken

    def _next_batch(self) -> list[_Task]:
        """The task that has waited longest, and those that fit into a batch with it."""
        first = self._tasks.popleft()
        batch, longest, shortest = [first], len(first.waveform), len(first.waveform)
        for task in list(self._tasks):
            most, least = max(longest, len(task.waveform)), min(shortest, len(task.waveform))
            fits = task.compute == first.compute and most <= _MOST_PADDING * least
            if fits and most * (len(batch) + 1) <= _MOST_SAMPLES and len(batch) < self._batch_size:
                self._tasks.remove(task)
                batch.append(task)
                longest, shortest = most, least
        return batch

    def _compute(self, batch: list[_Task]) -> None:
        if not batch:
            return
        try:
            results = batch[0].compute([task.waveform for task in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].result.set_exception(error)
            else:
                for task in batch:
                    self._compute([task])
            return
        for task, result in zip(batch, results, strict=True):
            task.result.set_result(result)


class CalledOff(Exception):
    """Nobody waits for an answer any more, or the worker has ended."""


class Asked:
    """What one request has asked a worker to compute; all of it can be called off."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._results: list[Future[Any]] = []
        self._lock = threading.Lock()
        self._called_off = False

    def compute(self, compute: Compute, waveforms: Sequence[Tensor]) -> list[Any]:
        """The results of waveforms (samples,); it waits for them, so do not call it in the worker's own thread.

        Raises:
            CalledOff: the request was called off, or the worker has ended.
        """
        with self._lock:
            if self._called_off:
                raise CalledOff
            self._results = [self._worker.submit(compute, waveform) for waveform in waveforms]
        try:
            return [result.result() for result in self._results]
        except CancelledError:  # asyncio would take it for the end of its own task
            raise CalledOff from None

    def call_off(self) -> None:
        """Cancels what was asked: nobody waits for it any more."""
        with self._lock:
            self._called_off = True
            for result in self._results:
                result.cancel()
