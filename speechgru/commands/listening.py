"""What ``speechgru listen`` does with what it hears: writes events as they come, keeps alarms, counts what it cost."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

import numpy as np

from speechgru.audio.live import Block
from speechgru.errors import ConfigError

if TYPE_CHECKING:
    from speechgru.streaming.event import Event
    from speechgru.streaming.stream import Stream

# What --save_alarms keeps before and after the sound of a label.
_AROUND_S = 0.5
# Sound that may be part of an alarm yet to come.
_RECENT_S = 10.0


class Writer(Protocol):
    """Writes events as they come."""

    def write(self, events: Sequence[Event]) -> None:
        """Writes the events of one block."""

    def close(self) -> None:
        """Is called after the last event."""


class JsonLines:
    """One JSON object a line; partial words too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, events: Sequence[Event]) -> None:
        """Writes the events of one block."""
        for event in events:
            self._stream.write(json.dumps(event.record()) + "\n")
        if events:
            self._stream.flush()

    def close(self) -> None:
        """Nothing is left to write."""


class Lines:
    """For reading: a label a line; the words of a phrase on one line, each as soon as it is settled."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line: list[str] = []  # words of the phrase that are already written

    def write(self, events: Sequence[Event]) -> None:
        """Writes the events of one block."""
        phrase: list[Event] = []  # a phrase that has ended
        for event in events:
            if event.kind == "label":
                self._stream.write(f"{event.start_s:8.2f}  {event.text}  {event.confidence:.2f}\n")
            elif event.final:
                phrase.append(event)
            else:
                self._end(phrase)
                phrase = []
                self._word(event)
        self._end(phrase)
        if events:
            self._stream.flush()

    def close(self) -> None:
        """Ends the line."""
        if self._line:
            self._stream.write("\n")

    def _word(self, event: Event) -> None:
        self._stream.write(f" {event.text}" if self._line else f"{event.start_s:8.2f}  {event.text}")
        self._line.append(event.text)

    def _end(self, phrase: Sequence[Event]) -> None:
        """Writes the missing words of a phrase; all words again if one of them has changed."""
        if not phrase:
            return
        if self._line != [event.text for event in phrase[: len(self._line)]]:
            self._stream.write("\n")
            self._line = []
        for event in phrase[len(self._line) :]:
            self._word(event)
        if phrase[-1].familiar is False:
            self._stream.write("  (does not sound like what the model knows)")
        self._stream.write("\n")
        self._line = []


class Alarms:
    """Keeps the sound of each label in a wav file of its own, with half a second more on both sides."""

    def __init__(self, folder: str) -> None:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--save_alarms {folder}: {error.strerror}; choose another folder") from error
        self._folder, self.saved = folder, 0
        self._recent: deque[np.ndarray] = deque()
        self._samples = self._end = 0
        self._waiting: list[Event] = []

    def hear(self, samples: np.ndarray, rate: int, events: Sequence[Event], ended: bool = False) -> None:
        """Takes the sound that was heard, and its events; an alarm is written once the sound after it is there."""
        heard = samples if samples.ndim == 1 else samples.mean(axis=0).astype(samples.dtype)
        self._recent.append(heard)
        self._samples, self._end = self._samples + len(heard), self._end + len(heard)
        while self._samples - len(self._recent[0]) > _RECENT_S * rate:
            self._samples -= len(self._recent.popleft())
        self._waiting += [event for event in events if event.kind == "label"]
        ready = [event for event in self._waiting if ended or event.end_s + _AROUND_S <= self._end / rate]
        self._waiting = [event for event in self._waiting if event not in ready]
        for event in ready:
            self._save(event, rate)

    def _save(self, event: Event, rate: int) -> None:
        import soundfile

        begin = self._end - self._samples
        first = max(0, round((event.start_s - _AROUND_S) * rate) - begin)
        last = round((event.end_s + _AROUND_S) * rate) - begin
        sound = np.concatenate(list(self._recent))[first:last]
        name = f"{event.end_s:010.2f}_{event.text}_{event.confidence:.2f}.wav".replace(os.sep, "_")
        path = os.path.join(self._folder, name)
        try:
            soundfile.write(path, sound, rate)
        except (OSError, soundfile.SoundFileError) as error:
            raise ConfigError(f"{path}: cannot be written ({error}); choose another folder") from error
        self.saved += 1


class Listening:
    """One run: blocks go in, events are written; counts what it cost and how late each word was.

    Attributes:
        events: the final ones so far, at most ``keep`` of them; None where there were more.
        lost: samples that were dropped on the way.
    """

    def __init__(self, stream: Stream, writer: Writer, alarms: Alarms | None, keep: int = 100_000) -> None:
        self._stream, self._writer, self._alarms, self._keep = stream, writer, alarms, keep
        self.events: list[Event] | None = []
        self.lost = 0
        self.told = 0
        self._computing_s = self._processor_s = 0.0
        self._lags: deque[float] = deque(maxlen=keep)
        self._rate = 1

    @property
    def seconds(self) -> float:
        """How much sound was heard, in seconds."""
        return self._stream.seconds

    def hear(self, block: Block, rate: int) -> None:
        """Takes one block."""
        self._rate = rate
        self.lost += block.lost
        self._advance(block.samples, rate)

    def end(self) -> None:
        """Writes the events that were still to come."""
        self._advance(None, self._rate)
        self._writer.close()

    def _advance(self, samples: np.ndarray | None, rate: int) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        events = self._stream.flush() if samples is None else self._stream.feed(samples, rate)
        computing_s = time.perf_counter() - wall
        self._computing_s += computing_s
        self._processor_s += time.process_time() - processor
        if self._alarms is not None:
            self._alarms.hear(np.zeros(0, np.float32) if samples is None else samples, rate, events, samples is None)
        later_s = self.lost / rate
        if later_s:  # times are those of the original sound, with the dropped samples
            events = [
                dataclasses.replace(event, start_s=event.start_s + later_s, end_s=event.end_s + later_s)
                for event in events
            ]
        self._writer.write(events)
        final = [event for event in events if event.final]
        self.told += len(final)
        self._lags += [self._stream.seconds + later_s + computing_s - event.end_s for event in final]
        if self.events is not None:
            self.events += final
            if len(self.events) > self._keep:
                self.events = None

    def tell(self) -> None:
        """Says on standard error what it cost."""
        seconds = self._stream.seconds
        lines = [f"heard {seconds:.1f} s, {self.told} told"]
        if self._lags:
            lags = np.array(self._lags)
            lines[0] += f", {np.median(lags):.2f} s after their end (median; at most {lags.max():.2f} s)"
        if seconds:
            lines.append(
                f"computing took {self._computing_s / seconds:.4f} of the time of the sound, "
                f"{100 * self._processor_s / seconds:.1f} % of one core"
            )
        if self.lost:
            lines.append(f"{self.lost / self._rate:.2f} s were dropped: this machine is too slow for this model")
        if self._alarms is not None:
            lines.append(f"{self._alarms.saved} alarms saved")
        for line in lines:
            print(f"speechgru listen: {line}", file=sys.stderr)
