"""Which stretches of a recording are silent, by the energy of short frames; words do not begin or end in them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word

FRAME_S = 0.01
# The threshold, as a share of the distance in dB from the quiet frames to the loud ones: frames below are no speech.
THRESHOLD = 0.3
# A recording with a smaller range has no pauses to find: it is all music, all noise, or all silence.
LEAST_RANGE_DB = 12.0
# Frames further below the loud ones count as quiet, however much quieter the rest is: digital silence must not make the
# noise of a room count as speech.
MOST_RANGE_DB = 50.0
# A shorter silence at the edge of a word may belong to the word: the closure of a consonant, or a soft consonant.
LEAST_SILENCE_S = 0.1


def levels_db(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The power of each whole frame of 10 ms around its mean, in dB of full scale, at least -120; (frames,)."""
    size = round(FRAME_S * sample_rate)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    return 10 * np.log10(frames.var(axis=1, dtype=np.float64) + 1e-12)


def silent(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Whether each whole frame of 10 ms is silent, bool (frames,); all False where all levels are similar.

    A frame is silent below a threshold between the floor and the level of speech, the 5th and the 95th percentile of
    the frames' levels.

    Args:
        waveform: float samples (samples,).
        sample_rate: in Hz.
    """
    levels = levels_db(waveform, sample_rate)
    return levels < silence_db(levels) if len(levels) else np.zeros(0, bool)


def is_even(waveform: np.ndarray, sample_rate: int) -> bool:
    """Whether the level is similar all through a recording, as in silence, hum and hiss, but not in speech.

    Args:
        waveform: float samples (samples,).
        sample_rate: in Hz.
    """
    levels = levels_db(waveform, sample_rate)
    return not len(levels) or silence_db(levels) == -math.inf


def silence_db(levels: np.ndarray, speech_db: float = -math.inf) -> float:
    """The level below which a frame is silent; minus infinity where all levels are similar.

    Args:
        levels: of frames in dB, at least one.
        speech_db: the level of speech, where it was louder before these frames.
    """
    floor, loud = np.percentile(levels, [5, 95]).tolist()
    speech = max(loud, speech_db)
    floor = max(floor, speech - MOST_RANGE_DB)
    return floor + THRESHOLD * (speech - floor) if speech - floor >= LEAST_RANGE_DB else -math.inf


def without_silence(words: Sequence[Word], waveform: np.ndarray, sample_rate: int) -> list[Word]:
    """The words without the silence at their edges, where that lasts ``LEAST_SILENCE_S`` or more.

    A net with look-ahead knows the first word of a sentence before it is said, and CTC lets the net give it that early.
    A word that is all silence stays as it is.

    Args:
        words: with times in the waveform.
        waveform: float samples (samples,).
        sample_rate: in Hz.
    """
    quiet = silent(waveform, sample_rate)
    found = []
    for word in words:
        first, last = round(word.start_s / FRAME_S), min(len(quiet), round(word.end_s / FRAME_S))
        loud = first + np.flatnonzero(~quiet[first:last])
        if len(loud):
            before, after = (int(loud[0]) - first) * FRAME_S, (last - 1 - int(loud[-1])) * FRAME_S
            if before >= LEAST_SILENCE_S - 1e-9:
                word = dataclasses.replace(word, start_s=int(loud[0]) * FRAME_S)
            if after >= LEAST_SILENCE_S - 1e-9:
                word = dataclasses.replace(word, end_s=(int(loud[-1]) + 1) * FRAME_S)
        found.append(word)
    return found
