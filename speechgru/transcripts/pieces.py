"""A recording of any length in pieces a recognizer takes at once, cut where nobody speaks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from speechgru.decoding.silence import FRAME_S
from speechgru.errors import ConfigError
from speechgru.recordings.parts import Piece
from speechgru.transcripts.pauses import pauses

# Less sound is a breath or a click: a piece of nothing else would be recognised as a word.
_SPEECH_S = 0.4
# The shortest silence in which a piece that is full may end. The closure of a consonant is one of up to 0.15 s.
_SHORTEST_PAUSE_S = 0.2


@dataclasses.dataclass
class PiecesConfig:
    """How a long recording is cut.

    Attributes:
        longest_s: length of the longest piece in seconds, 2 to 600; a recording up to this length stays whole.
        shortest_s: least length of a piece of a longer recording in seconds, except its last piece; from 0.1 to half of
            ``longest_s``.
        pause_s: the silence in seconds that ends a piece, 0.05 to 2. A model that has learned one sentence at a time
            recognises several at once badly: the shorter this is, the fewer sentences share a piece. The closure of a
            consonant is a silence too, of up to 0.15 s.
        overlap_s: what two pieces share in seconds where there is no pause between them; from 0.5 to a quarter of
            ``longest_s``. It should be at least twice the longest word, so that one of the two has each word whole.
    """

    longest_s: float = 20.0
    shortest_s: float = 1.0
    pause_s: float = 0.25
    overlap_s: float = 4.0

    def __post_init__(self) -> None:
        for key, low, high in (
            ("longest_s", 2.0, 600.0),
            ("shortest_s", 0.1, self.longest_s / 2),
            ("pause_s", 0.05, 2.0),
            ("overlap_s", 0.5, self.longest_s / 4),
        ):
            value = getattr(self, key)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"{key}={value}: from {low:g} to {high:g} seconds")


def pieces(blocks: Iterable[np.ndarray], sample_rate: int, config: PiecesConfig) -> Iterator[Piece]:
    """The pieces of a recording that comes in blocks; the size of the blocks does not matter.

    A recording of more than ``longest_s`` is cut in the middle of every pause of ``pause_s``, once the piece has
    ``shortest_s``. If no such pause comes within ``longest_s``, the piece ends in the longest of the shorter pauses
    after the first quarter of ``longest_s``. If there is none either, the piece is ``longest_s`` long and the next one
    begins ``overlap_s`` before its end. Never more than one block above ``longest_s`` is held in memory.
    """
    longest, overlap = round(config.longest_s * sample_rate), round(config.overlap_s * sample_rate)
    held = np.zeros(0, np.float32)
    start, shared = 0, 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > longest:
            pause = _cut(held[:longest], sample_rate, config, shared, last=False)
            end = pause or longest
            yield Piece(held[:end].copy(), start / sample_rate, shared / sample_rate)
            shared = 0 if pause else overlap
            start += end - shared
            held = held[end - shared :]
    while start and (end := _cut(held, sample_rate, config, shared, last=True)):
        yield Piece(held[:end], start / sample_rate, shared / sample_rate)
        start, shared, held = start + end, 0, held[end:]
    if len(held):
        yield Piece(held, start / sample_rate, shared / sample_rate)


def _cut(held: np.ndarray, sample_rate: int, config: PiecesConfig, shared: int, last: bool) -> int:
    """The sample in a pause with which the next piece begins; 0 where there is no pause to cut in.

    It is not within what is ``shared`` with the piece before: two seams there would lose or double words. The ``last``
    piece need not be cut.
    """
    found = pauses(held, sample_rate, min(config.pause_s, _SHORTEST_PAUSE_S))
    first_s = max(config.shortest_s, shared / sample_rate)
    for pause in found:
        spoken = min(pause.before_s, pause.after_s) >= _SPEECH_S
        if spoken and pause.middle_s >= first_s and pause.end_s - pause.start_s >= config.pause_s - 1e-9:
            return round(pause.middle_s * sample_rate)
    later = [pause for pause in found if pause.middle_s >= config.longest_s / 4]
    if last or not later:
        return 0
    longest = max(later, key=lambda pause: (round((pause.end_s - pause.start_s) / FRAME_S), pause.start_s))
    return round(longest.middle_s * sample_rate)
