"""Forced alignment: when each token of a known text was said."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from speechgru.errors import DataError

# torchaudio keeps a byte for each frame and each of the 2 L + 1 states.
MOST_STATES = 4_000_000_000


@dataclasses.dataclass(frozen=True)
class Alignment:
    """The most probable path through the blanks and the tokens of a text, in order.

    Attributes:
        starts: the first frame of each token.
        ends: the frame after its last one.
        confidences: the posterior of each token in its best frame, 0 to 1.
        score: log-probability of the whole path.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    confidences: tuple[float, ...]
    score: float


def align(log_probs: np.ndarray, targets: Sequence[int], blank: int = 0) -> Alignment:
    """When each target was said, by torchaudio's ``forced_align``.

    Args:
        log_probs: log-probabilities (time, token), float32.
        targets: token indices of the text, at least one, none of them ``blank``.
        blank: index of the blank.

    Raises:
        DataError: no targets, more than the frames can hold, or too long for the memory.
    """
    import torch
    import torchaudio.functional

    frames = len(log_probs)
    assert blank not in targets
    assert all(0 <= target < log_probs.shape[1] for target in targets)
    if not len(targets):
        raise DataError("the text is empty; give what was said")
    # Between two equal tokens a blank must come.
    needed = len(targets) + sum(a == b for a, b in itertools.pairwise(targets))
    if needed > frames:
        raise DataError(
            f"{len(targets)} tokens need {needed} frames, the recording has {frames}; "
            "is this the text of this recording?"
        )
    if frames * (2 * len(targets) + 1) > MOST_STATES:
        raise DataError(
            f"{frames} frames by {len(targets)} tokens do not fit in the memory; align the recording in parts"
        )
    emissions = torch.from_numpy(np.ascontiguousarray(log_probs, dtype=np.float32))[None]
    path, scores = torchaudio.functional.forced_align(
        emissions, torch.tensor([list(targets)], dtype=torch.int32), blank=blank
    )
    labels, values = path[0].numpy(), scores[0].numpy()
    # A token is a run of equal labels: between equal tokens the path has a blank.
    edges = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1, append=labels[-1] - 1))
    runs = [(int(start), int(end)) for start, end in itertools.pairwise(edges) if labels[start] != blank]
    assert [int(labels[start]) for start, _ in runs] == list(targets)
    return Alignment(
        tuple(start for start, _ in runs),
        tuple(end for _, end in runs),
        tuple(float(np.exp(min(0.0, values[start:end].max()))) for start, end in runs),
        float(values.astype(np.float64).sum()),
    )
