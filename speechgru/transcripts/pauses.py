"""Where nobody speaks, by the energy of short frames above the floor of the recording."""

from __future__ import annotations

import numpy as np

from speechgru.decoding.silence import FRAME_S, silent


def longest_pause(
    waveform: np.ndarray, sample_rate: int, pause_s: float, first_s: float = 0.0
) -> tuple[int, int] | None:
    """The longest pause whose middle is not before ``first_s``, as half-open samples; of equal ones the later.

    A pause is a run of frames that are :func:`speechgru.decoding.silence.silent`. Given the last seconds of a
    recording, that follows the recording as it goes on.

    Args:
        waveform: float samples (samples,).
        sample_rate: in Hz.
        pause_s: the shortest pause that counts, in seconds.
        first_s: where to begin, in seconds.

    Returns:
        The first sample of the pause and the one after its last; None where there is no such pause.
    """
    quiet = silent(waveform, sample_rate)
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]
    lengths = ends - starts
    legal = (lengths * FRAME_S >= pause_s - 1e-9) & ((starts + ends) * FRAME_S / 2 >= first_s)
    if not legal.any():
        return None
    best = len(lengths) - 1 - int(np.argmax(np.where(legal, lengths, 0)[::-1]))
    size = round(FRAME_S * sample_rate)
    return int(starts[best]) * size, int(ends[best]) * size
