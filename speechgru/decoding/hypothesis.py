"""What a decoder gives: a token sequence, how likely it is, and when each token was spoken."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.errors import DataError
from speechgru.tokens import Tokens


@dataclasses.dataclass(frozen=True, slots=True)
class Hypothesis:
    """One reading of an utterance.

    Attributes:
        tokens: token indices without blanks and repeats.
        score: natural logarithm of the probability; with the language model and the bonuses where they were used.
        starts: the first frame of each token on the best path.
        ends: the frame after the last one of each token on that path.
        words: each word with the half-open span of its tokens, where the words come from a language model or a lexicon;
            else empty.
    """

    tokens: tuple[int, ...]
    score: float
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    words: tuple[tuple[str, int, int], ...] = ()


def check_scores(log_probs: np.ndarray, tokens: Tokens) -> np.ndarray:
    """Checks scores of an utterance, (frames, tokens) natural logarithms of probabilities; returns them unchanged.

    Raises:
        DataError: not two dimensions, another number of tokens, a NaN or a positive infinity, or a frame in which
            no token is possible.
    """
    log_probs = np.asarray(log_probs)
    if log_probs.ndim != 2 or log_probs.shape[1] != len(tokens):
        raise DataError(
            f"scores of shape {log_probs.shape} for {len(tokens)} tokens: (frames, {len(tokens)}) is expected; "
            "they come from another model or hold a batch"
        )
    # NaN and +inf make the largest one not finite; -inf (impossible) may stand beside others.
    if len(log_probs) and not np.isfinite(best := log_probs.max(1)).all():
        frame = int(np.flatnonzero(~np.isfinite(best))[0])
        raise DataError(f"frame {frame} of the scores holds a NaN or no possible token; the model has diverged")
    return log_probs
