"""Where nobody speaks, by the energy of short frames above the floor of the recording."""

from __future__ import annotations

import numpy as np

FRAME_S = 0.01
# Of the way, in dB, from the quiet frames to the loud ones: what lies below is no speech.
THRESHOLD = 0.3
# A recording that is less lively has no pauses to be found: all music, all noise, or all silence.
LEAST_RANGE_DB = 12.0
# What lies further below the loud frames is quiet however much quieter the rest is: digital silence must not raise the
# noise of a room into speech.
MOST_RANGE_DB = 50.0


def levels_db(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The power of each whole frame of 10 ms around its mean, in dB of full scale, from -120; (frames,)."""
    size = round(FRAME_S * sample_rate)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    return 10 * np.log10(frames.var(axis=1, dtype=np.float64) + 1e-12)


def longest_pause(
    waveform: np.ndarray, sample_rate: int, pause_s: float, first_s: float = 0.0
) -> tuple[int, int] | None:
    """The longest pause whose middle is not before ``first_s``, as half-open samples; of equal ones the later.

    A pause is a run of frames below a threshold between the floor and the level of speech, the 5th and the 95th
    hundredth of the frames' levels: given the last seconds of a recording, both follow it as it goes on.

    Args:
        waveform: float samples (samples,).
        sample_rate: in Hz.
        pause_s: the shortest pause that counts, in seconds.
        first_s: where to begin, in seconds.

    Returns:
        The first sample of the pause and the one after its last; None where there is no such pause.
    """
    levels = levels_db(waveform, sample_rate)
    if not len(levels):
        return None
    floor, speech = np.percentile(levels, [5, 95])
    floor = max(floor, speech - MOST_RANGE_DB)
    if speech - floor < LEAST_RANGE_DB:
        return None
    quiet = levels < floor + THRESHOLD * (speech - floor)
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]
    lengths = ends - starts
    legal = (lengths * FRAME_S >= pause_s - 1e-9) & ((starts + ends) * FRAME_S / 2 >= first_s)
    if not legal.any():
        return None
    best = len(lengths) - 1 - int(np.argmax(np.where(legal, lengths, 0)[::-1]))
    size = round(FRAME_S * sample_rate)
    return int(starts[best]) * size, int(ends[best]) * size
