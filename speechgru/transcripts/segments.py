"""Words into segments: between pauses of the speaker, and not too long for a subtitle."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechgru.transcripts.transcript import Segment

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word

PAUSE_S = 0.8
LONGEST_S = 10.0


def segments(words: Sequence[Word], pause_s: float = PAUSE_S, longest_s: float = LONGEST_S) -> tuple[Segment, ...]:
    """Every word in one segment, in order.

    A silence of ``pause_s`` between two words ends a segment. A segment longer than ``longest_s`` is cut at its widest
    gap between words (of equal gaps, at the one nearest to its middle) until none is longer; a single word is never
    cut.
    """
    found: list[Segment] = []
    waiting = [list(words)] if words else []
    while waiting:
        part = waiting.pop()
        cut = _cut(part, pause_s, longest_s)
        if cut:
            waiting += [part[cut:], part[:cut]]
        else:
            found.append(Segment(len(found), tuple(part)))
    return tuple(found)


def _cut(words: list[Word], pause_s: float, longest_s: float) -> int:
    """The first word of the second half; 0 where the words may stay together."""
    gaps = [right.start_s - left.end_s for left, right in itertools.pairwise(words)]
    if not gaps or (max(gaps) < pause_s and words[-1].end_s - words[0].start_s <= longest_s):
        return 0
    widest, middle = max(gaps), (words[0].start_s + words[-1].end_s) / 2
    # Times are whole frames: gaps that differ by rounding are equal.
    candidates = [i for i, gap in enumerate(gaps) if gap > widest - 1e-6]
    return 1 + min(candidates, key=lambda i: abs((words[i].end_s + words[i + 1].start_s) / 2 - middle))
