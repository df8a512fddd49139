"""Where nobody speaks, by the energy of short frames above the floor of the recording."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.decoding.silence import FRAME_S, silent


@dataclasses.dataclass(frozen=True)
class Pause:
    """A silence within a recording, or at one end of it.

    Attributes:
        start_s: its beginning in seconds.
        end_s: its end in seconds.
        before_s: seconds of sound before it, silences not counted.
        after_s: the same after it.
    """

    start_s: float
    end_s: float
    before_s: float
    after_s: float

    @property
    def middle_s(self) -> float:
        """Where to cut, in seconds."""
        return (self.start_s + self.end_s) / 2


def pauses(waveform: np.ndarray, sample_rate: int, pause_s: float) -> list[Pause]:
    """The pauses of at least ``pause_s`` seconds, in order.

    A pause is a run of frames that are :func:`speechgru.decoding.silence.silent`. Given the last seconds of a
    recording, this follows the recording as it goes on.

    Args:
        waveform: float samples (samples,).
        sample_rate: in Hz.
        pause_s: the shortest pause that counts, in seconds.
    """
    quiet = silent(waveform, sample_rate)
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8), prepend=0, append=0))
    sound = np.concatenate([[0], np.cumsum(~quiet)])
    return [
        Pause(start * FRAME_S, end * FRAME_S, sound[start] * FRAME_S, (sound[-1] - sound[start]) * FRAME_S)
        for start, end in edges.reshape(-1, 2).tolist()
        if (end - start) * FRAME_S >= pause_s - 1e-9
    ]
