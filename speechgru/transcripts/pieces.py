"""A recording of any length in pieces a recognizer takes at once, cut where nobody speaks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from speechgru.errors import ConfigError
from speechgru.transcripts.pauses import longest_pause


@dataclasses.dataclass
class PiecesConfig:
    """How a long recording is cut.

    Attributes:
        longest_s: length of the longest piece in seconds, 2 to 600; a recording up to this length stays whole.
        pause_s: the shortest silence in seconds that is taken for a pause between words, 0.05 to 2. The closure of a
            consonant is one too, of up to 0.15 s.
        overlap_s: what two pieces share in seconds where there is no pause between them; from 0.5 to a quarter of
            ``longest_s``. Twice the longest word at least, so that one of the two hears each word whole.
    """

    longest_s: float = 20.0
    pause_s: float = 0.3
    overlap_s: float = 4.0

    def __post_init__(self) -> None:
        for key, low, high in (
            ("longest_s", 2.0, 600.0),
            ("pause_s", 0.05, 2.0),
            ("overlap_s", 0.5, self.longest_s / 4),
        ):
            value = getattr(self, key)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"{key}={value}: from {low:g} to {high:g} seconds")


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a recording.

    Attributes:
        waveform: float32 samples (samples,).
        start_s: where it begins in the recording, in seconds.
        overlap_s: how much of its beginning the piece before it has too; 0 where it begins in a pause.
    """

    waveform: np.ndarray
    start_s: float
    overlap_s: float


def pieces(blocks: Iterable[np.ndarray], sample_rate: int, config: PiecesConfig) -> Iterator[Piece]:
    """The pieces of a recording that comes in blocks of any size, of which they are independent.

    When more than ``longest_s`` is there it is cut in the middle of the longest pause after the first quarter of that;
    without a pause the piece is ``longest_s`` long and the next one begins ``overlap_s`` before its end. Never more
    than one block above ``longest_s`` is held.
    """
    longest, overlap = round(config.longest_s * sample_rate), round(config.overlap_s * sample_rate)
    held = np.zeros(0, np.float32)
    start, shared = 0, 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > longest:
            pause = longest_pause(held[:longest], sample_rate, config.pause_s, config.longest_s / 4)
            end = sum(pause) // 2 if pause else longest
            yield Piece(held[:end].copy(), start / sample_rate, shared / sample_rate)
            shared = 0 if pause else overlap
            start += end - shared
            held = held[end - shared :]
    if len(held):
        yield Piece(held, start / sample_rate, shared / sample_rate)
