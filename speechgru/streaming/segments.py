"""Cuts a stream into segments of speech, each at the pause after it: for models that need whole recordings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from speechgru.decoding.silence import FRAME_S, levels_db, silence_db

# The levels are looked at each time this many more frames have come, so that chunks make no difference.
_LOOK = 10
# The levels of the noise and of speech are taken from this many seconds.
_MEMORY_S = 20.0
# A shorter sound is a click or a breath.
_SPEECH_S = 0.1
# A segment that is full may end in a silence of this length; the closure of a consonant lasts up to 0.15 s.
_SHORTEST_PAUSE_S = 0.2


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of a stream in which somebody speaks.

    Attributes:
        waveform: its samples (samples,).
        start_s: where it begins, in seconds from the beginning of the stream.
    """

    waveform: Tensor
    start_s: float


class Segments:
    """Cuts one stream; any chunks give the same segments.

    Silence is found as in :mod:`speechgru.decoding.silence`, from the last 20 seconds: the level of speech is the one
    that 0.1 s of them exceed, or that of the segment before where it is higher. A segment begins half of ``pause_s``
    before the first sound and ends half of ``pause_s`` after the last one. It is given as soon as ``pause_s`` has been
    silent: that is the latency, and up to 0.1 s more. A segment of ``longest_s`` is cut in the longest silence of its
    second half, and where there is none, as it is. As long as the level has been similar since the beginning of the
    stream, no silence can be found, and segments are ``longest_s`` long.

    Args:
        sample_rate: in Hz.
        pause_s: the silence that ends a segment, in seconds.
        longest_s: the length of the longest segment, in seconds.
    """

    def __init__(self, sample_rate: int, pause_s: float, longest_s: float) -> None:
        self._rate = sample_rate
        self._frame = round(FRAME_S * sample_rate)
        self._pause = max(2, round(pause_s / FRAME_S))
        self._longest = max(2 * self._pause, round(longest_s / FRAME_S))
        self._held = np.zeros(0, np.float32)  # from the beginning of the next segment, or of what may become one
        self._origin = 0  # its first sample
        self._seen = 0  # frames of it whose levels were looked at
        self._levels = np.zeros(0)
        self._speech_db = -math.inf

    def feed(self, chunk: Tensor) -> list[Segment]:
        """The segments that end with these samples (samples,)."""
        self._held = np.concatenate([self._held, chunk.numpy()])
        found = []
        while len(self._held) >= (self._seen + _LOOK) * self._frame:
            self._look(_LOOK)
            found += list(self._cut())
        return found

    def flush(self) -> list[Segment]:
        """The segment with which the stream ends."""
        self._look(len(self._held) // self._frame - self._seen)
        loud = self._loud()
        if not len(loud) or (len(loud) * FRAME_S < _SPEECH_S and self._seen * FRAME_S > _SPEECH_S):
            return []
        return [self._take(self._begin(loud), len(self._held))]

    def _look(self, frames: int) -> None:
        start = self._seen * self._frame
        new = levels_db(self._held[start : start + frames * self._frame], self._rate)
        self._levels = np.concatenate([self._levels, new])[-round(_MEMORY_S / FRAME_S) - self._longest :]
        self._seen += frames

    def _loud(self) -> np.ndarray:
        """The held frames that are not silent."""
        if not self._seen:
            return np.zeros(0, np.int64)
        lately = self._levels[-round(_MEMORY_S / FRAME_S) :]
        speech_db = max(self._speech_db, self._loudest_db())
        return np.flatnonzero(self._levels[-self._seen :] >= silence_db(lately, speech_db))

    def _loudest_db(self) -> float:
        lately = self._levels[-round(_MEMORY_S / FRAME_S) :]
        return float(np.sort(lately)[-round(_SPEECH_S / FRAME_S) :][0])

    def _cut(self) -> Iterator[Segment]:
        """The segment that is complete now; drops what is silent before the next one."""
        loud = self._loud()
        margin = self._pause // 2
        if not len(loud):
            self._drop(max(0, self._seen - margin))
        elif self._seen - 1 - loud[-1] >= self._pause:
            if len(loud) * FRAME_S >= _SPEECH_S:
                self._speech_db = self._loudest_db()
                yield self._take(self._begin(loud), (int(loud[-1]) + 1 + margin) * self._frame)
            else:
                self._drop(int(loud[-1]) + 1 + margin)
        elif self._seen >= self._longest:
            yield self._take(self._begin(loud), self._full(loud) * self._frame)
        elif loud[0] > margin + _LOOK:
            self._drop(int(loud[0]) - margin)

    def _begin(self, loud: np.ndarray) -> int:
        return max(0, int(loud[0]) - self._pause // 2) * self._frame

    def _full(self, loud: np.ndarray) -> int:
        """The frame in which a segment that is too long ends."""
        gaps = np.diff(loud)
        gaps[loud[:-1] < self._seen // 2] = 0
        if not len(gaps) or gaps.max() * FRAME_S <= _SHORTEST_PAUSE_S:
            return self._longest
        widest = int(gaps.argmax())
        return int(loud[widest] + loud[widest + 1] + 1) // 2

    def _take(self, start: int, end: int) -> Segment:
        segment = Segment(torch.from_numpy(self._held[start:end].copy()), (self._origin + start) / self._rate)
        self._drop(-(-end // self._frame))
        return segment

    def _drop(self, frames: int) -> None:
        samples = min(frames * self._frame, len(self._held))
        self._held, self._origin = self._held[samples:], self._origin + samples
        self._seen = max(0, self._seen - frames)
