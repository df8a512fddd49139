"""The words of two overlapping pieces as one sequence, none lost and none doubled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word

# In two pieces the same word has times that differ by a few frames; its neighbour, which may be an equal word, is
# further away.
SAME_S = 0.1


def join(left: Sequence[Word], right: Sequence[Word], from_s: float, to_s: float) -> list[Word]:
    """The words of the earlier piece up to a seam in what both pieces contain, from there those of the later piece.

    Close to its own end each piece lacks what comes after (or was before) and may have half a word there. So the seam
    is the word nearest to the middle of the overlap on which both agree. If they agree on none, it is the moment
    nearest to the middle in which neither has a word.

    Args:
        left: words of the earlier piece (and those before it), with times in the recording.
        right: words of the later piece.
        from_s: where the later piece begins, in seconds.
        to_s: where the earlier one ends.
    """
    middle = (from_s + to_s) / 2
    pairs = [
        (abs((_centre(a) + _centre(b)) / 2 - middle), i, j)
        for i, a in _inside(left, from_s, to_s)
        for j, b in _inside(right, from_s, to_s)
        if a.word == b.word and abs(_centre(a) - _centre(b)) < SAME_S
    ]
    if pairs:
        _, i, j = min(pairs)
        return [*left[: i + 1], *right[j + 1 :]]
    seam = _quiet(left, right, from_s, to_s)
    return [*(word for word in left if _centre(word) < seam), *(word for word in right if _centre(word) >= seam)]


def _inside(words: Sequence[Word], from_s: float, to_s: float) -> list[tuple[int, Word]]:
    return [(i, word) for i, word in enumerate(words) if from_s <= _centre(word) <= to_s]


def _quiet(left: Sequence[Word], right: Sequence[Word], from_s: float, to_s: float) -> float:
    """The moment nearest to the middle of the overlap in which neither has a word; the middle where there is none."""
    middle = (from_s + to_s) / 2
    # One close before a word counts as heard within it by rounding of the other piece's frames.
    spoken = [(word.start_s, word.end_s) for word in [*left, *right]]
    moments = [middle, *(edge for span in spoken for edge in span if from_s < edge < to_s)]
    free = [at for at in moments if not any(start < at < end for start, end in spoken)]
    return min(free, key=lambda at: abs(at - middle), default=middle)


def _centre(word: Word) -> float:
    return (word.start_s + word.end_s) / 2
