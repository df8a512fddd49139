"""Forced alignment: when each token of a known text was said."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from speechgru.decoding.hypothesis import Hypothesis
from speechgru.errors import DataError

BLANK = 0
# torchaudio keeps a byte for each frame and each of the 2 L + 1 states.
MOST_STATES = 4_000_000_000


def align(log_probs: np.ndarray, targets: Sequence[int]) -> Hypothesis:
    """The most probable path that says ``targets``, by torchaudio's ``forced_align``.

    Args:
        log_probs: natural logarithms of probabilities, (frames, tokens), the blank first.
        targets: token indices of the text, at least one, without blanks.

    Returns:
        The targets with the frames each is said in, and the log-probability of the path.

    Raises:
        DataError: no targets, more than the frames can hold, or too long for the memory.
    """
    import torch
    import torchaudio.functional

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
    emissions = torch.from_numpy(np.ascontiguousarray(log_probs, dtype=np.float32))[None]
    wanted = torch.tensor([list(targets)], dtype=torch.int32)
    path, scores = torchaudio.functional.forced_align(emissions, wanted, blank=BLANK)
    labels = path[0].numpy()
    # Each run of a label is one token.
    edges = np.flatnonzero(np.diff(labels, prepend=-1, append=-1))
    runs = [(start, end) for start, end in itertools.pairwise(edges.tolist()) if labels[start] != BLANK]
    found = tuple(int(labels[start]) for start, _ in runs)
    assert found == tuple(targets)
    score = float(scores[0].double().sum())
    return Hypothesis(found, score, tuple(start for start, _ in runs), tuple(end for _, end in runs))
