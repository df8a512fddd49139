"""Open streams: sound that waits for the worker, and what was heard in it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechgru.errors import SpeechGRUError, one_line
from speechgru.streaming.event import Event
from speechgru.streaming.stream import feed_together, flush_together

if TYPE_CHECKING:
    from speechgru.serving.served import Served

# At most this much sound of each stream is taken at once: one that comes faster than real time delays no other.
STEP_S = 1.0


@dataclasses.dataclass(frozen=True)
class Heard:
    """What a step of the worker gave for one stream.

    Attributes:
        events: in order of time.
        ended: whether the stream has ended with these.
        error: why the stream broke off; empty otherwise.
        arrived_s: when the last of the computed sound arrived, by ``time.perf_counter``.
    """

    events: Sequence[Event] = ()
    ended: bool = False
    error: str = ""
    arrived_s: float = 0.0


class OpenStream:
    """A stream of sound; its owner fills it and the worker empties it, under the worker's lock.

    Args:
        served: the model that hears.
        rate: of the sound, in Hz.
        tell: called by the worker's thread with what was heard, if anything was; it must not wait.

    Attributes:
        waiting: samples that wait.
        held_up: whether ``tell`` is called after every step: the owner waits until fewer samples wait.
        arrived_s: when the last samples arrived, by ``time.perf_counter``.
    """

    def __init__(self, served: Served, rate: int, tell: Callable[[Heard], None]) -> None:
        self.served, self.rate, self.tell = served, rate, tell
        self.stream = served.recognizer.stream()
        self.waiting, self.held_up = 0, False
        self.arrived_s = time.perf_counter()
        self._chunks: list[np.ndarray] = []
        self._ending = False

    def put(self, samples: np.ndarray) -> None:
        """Adds the next int16 samples (samples,)."""
        self._chunks.append(samples)
        self.waiting += len(samples)
        self.arrived_s = time.perf_counter()

    def end(self) -> None:
        """Marks the end: nothing follows."""
        self._ending = True

    def take(self) -> tuple[np.ndarray, bool]:
        """The samples to compute next, and whether the stream ends with them."""
        most = round(STEP_S * self.rate)
        joined = self._chunks[0] if len(self._chunks) == 1 else np.concatenate([np.zeros(0, np.int16), *self._chunks])
        samples, rest = joined[:most], joined[most:]
        self._chunks, self.waiting = [rest] if len(rest) else [], len(rest)
        return samples, self._ending and not len(rest)


def advance(taken: Iterable[tuple[OpenStream, np.ndarray, bool]]) -> list[tuple[OpenStream, Heard]]:
    """Computes the next step of streams, those of one model and rate in one batch."""
    groups: dict[tuple[Served, int], list[tuple[OpenStream, np.ndarray, bool]]] = {}
    for one in taken:
        groups.setdefault((one[0].served, one[0].rate), []).append(one)
    heard: list[tuple[OpenStream, Heard]] = []
    for (_, rate), group in groups.items():
        streams, chunks, _ = zip(*group, strict=True)
        ending = [stream for stream, _, ends in group if ends]
        try:
            events = feed_together([stream.stream for stream in streams], chunks, rate)
            last = dict(zip(ending, flush_together([stream.stream for stream in ending]), strict=True))
        except Exception as error:  # whatever it is, the others go on
            if not isinstance(error, SpeechGRUError):
                logging.getLogger("uvicorn.error").exception("a step of streams failed")
            heard += [(stream, Heard(ended=True, error=one_line(error) or "no memory left")) for stream in streams]
            continue
        heard += [
            (stream, Heard([*found, *last.get(stream, [])], stream in last, arrived_s=stream.arrived_s))
            for stream, found in zip(streams, events, strict=True)
        ]
    return heard
