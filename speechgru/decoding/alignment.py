"""Forced alignment: when each token of a known text was said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from speechgru.decoding.hypothesis import Hypothesis
from speechgru.errors import DataError

# The search for the best path keeps a byte for each frame and each of the 2 L + 1 states.
MOST_STATES = 4_000_000_000


def align(log_probs: np.ndarray, targets: Sequence[int]) -> Hypothesis:
    """The most probable path that says ``targets``; of equally likely paths, the one that leaves tokens later.

    Args:
        log_probs: natural logarithms of probabilities, (frames, tokens), the blank first.
        targets: token indices of the text, at least one, without blanks.

    Returns:
        The targets, the frames in which each is said, and the log-probability of the path.

    Raises:
        DataError: no targets, more than the frames can hold, or too many for the memory; or scores that are NaN or give
            the text no probability.
    """
    # Imported where it is needed: numba takes half a second.
    from speechgru.decoding.best_path import best_path

    if not len(targets):
        raise DataError("the text has no words; give what is said in the recording")
    frames = len(log_probs)
    # Between two equal tokens there must be a blank (Graves et al., ICML 2006, section 3.1).
    needed = len(targets) + sum(left == right for left, right in itertools.pairwise(targets))
    if needed > frames:
        raise DataError(
            f"the text needs {needed} frames of the model and the recording has {frames}; "
            "is it the text of this recording?"
        )
    if frames * (2 * len(targets) + 1) > MOST_STATES:
        raise DataError(
            f"{frames} frames with {len(targets)} tokens are too much for the memory; align the recording in parts"
        )
    tokens = np.array(targets, dtype=np.int64)
    anywhere = np.full(len(tokens) + 1, frames)
    scores = np.ascontiguousarray(log_probs, dtype=np.float32)
    starts, ends, score = best_path(scores, tokens, np.zeros_like(tokens), anywhere)
    if not score > -math.inf:  # a NaN is not
        raise DataError("the model gives the text no probability in this recording; has it diverged?")
    return Hypothesis(tuple(tokens.tolist()), float(score), tuple(starts.tolist()), tuple(ends.tolist()))
